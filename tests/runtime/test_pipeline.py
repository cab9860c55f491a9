"""From images to verdicts, in Python."""

from __future__ import annotations

import io
import json
import math
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

import protoleak
from protoleak.bundle.calibration import Calibration
from protoleak.bundle.manifest import Manifest
from protoleak.bundle.writer import write_bundle
from protoleak.errors import BundleError, CalibrationError, EngineError, EngineUnavailable, MediaError, ProtoleakError
from protoleak.images.decode import DecodedImage, decode
from protoleak.runtime.engines import choose
from tests.tiny_bundle import make_image


@pytest.fixture(scope="module")
def screener(tiny_bundle: Path) -> protoleak.Screener:
    return protoleak.load(tiny_bundle, threads=1)


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    """Two of each class and two of none, of different sizes."""
    return [make_image(kind, seed, 70 + 9 * seed, 81) for seed in (1, 2) for kind in (0, 1, 2, None)]


def without_times(verdict: protoleak.Verdict) -> dict[str, Any]:
    plain = verdict.to_dict()
    del plain["milliseconds"]
    return plain


def test_known_real_and_unknown_images_get_those_verdicts(screener: protoleak.Screener) -> None:
    # 40 images a kind; α = 0.05 allows 2 rejections on average and P(more than 8) < 0.1 %, and the seeds are fixed.
    def counts(kind: int | None, verdict: str) -> int:
        return sum(v.label == verdict for v in screener([make_image(kind, seed) for seed in range(40)]))

    assert counts(0, "known") >= 32
    assert counts(2, "real") >= 32
    assert counts(None, "unknown") == 40


def test_generator_is_named_only_when_known(screener: protoleak.Screener, images: list[np.ndarray]) -> None:
    for verdict in screener(images):
        assert (verdict.generator is not None) == (verdict.label == "known")
        assert verdict.generator in (None, verdict.nearest)
        assert (verdict.label == "unknown") == (verdict.p_value <= verdict.alpha)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_same_image_gives_the_same_json_in_any_batch(
    screener: protoleak.Screener, images: list[np.ndarray], batch_size: int
) -> None:
    alone = [without_times(screener(one)[0]) for one in images]
    batched = list(screener.each(images, batch_size))
    assert [json.dumps(without_times(v)) for v in batched if isinstance(v, protoleak.Verdict)] == [
        json.dumps(one) for one in alone
    ]


def test_same_image_gives_the_same_json_at_another_place_in_the_batch(
    screener: protoleak.Screener, images: list[np.ndarray]
) -> None:
    forward = [without_times(v) for v in screener(images)]
    assert [without_times(v) for v in screener(images[::-1])][::-1] == forward


def test_path_bytes_pillow_image_and_array_get_the_same_answer(screener: protoleak.Screener, tmp_path: Path) -> None:
    pixels = make_image(0, 5)
    path = tmp_path / "x.png"
    Image.fromarray(pixels).save(path)
    verdicts = screener([path, str(path), path.read_bytes(), Image.fromarray(pixels), pixels])
    assert len({(v.log_density, v.p_value, v.nearest) for v in verdicts}) == 1
    assert [v.source for v in verdicts] == [str(path), str(path), None, None, None]


def test_one_image_many_images_and_a_stack_are_all_taken(screener: protoleak.Screener) -> None:
    pixels = make_image(0, 5)
    assert len(screener(pixels)) == 1
    assert len(screener((pixels, pixels))) == 2
    assert len(screener(np.stack([pixels, pixels, pixels]))) == 3
    assert screener([]) == []


def test_verdict_is_frozen_and_its_dictionary_is_its_json(screener: protoleak.Screener) -> None:
    verdict = screener(make_image(1, 0))[0]
    with pytest.raises(AttributeError):
        verdict.label = "real"  # type: ignore[misc]
    assert json.loads(verdict.to_json()) == verdict.to_dict() == json.loads(json.dumps(verdict.to_dict()))


def test_every_number_in_a_verdict_is_a_finite_python_number(
    screener: protoleak.Screener, images: list[np.ndarray]
) -> None:
    def numbers(value: object) -> Iterator[object]:
        if isinstance(value, dict):
            for inner in value.values():
                yield from numbers(inner)
        elif isinstance(value, (list, tuple)):
            for inner in value:
                yield from numbers(inner)
        elif value is not None and not isinstance(value, str):
            yield value

    for verdict in screener(images):
        found = list(numbers(verdict.to_dict()))
        assert {type(number) for number in found} == {int, float}
        assert all(math.isfinite(number) for number in found)  # type: ignore[arg-type]


def test_record_names_input_bundle_variant_and_engine(screener: protoleak.Screener, tiny_bundle: Path) -> None:
    import hashlib

    pixels = make_image(0, 1)
    verdict = screener(pixels)[0]
    assert verdict.input.sha256 == hashlib.sha256(pixels.tobytes()).hexdigest()
    assert (verdict.input.width, verdict.input.height, verdict.input.size) == (72, 80, pixels.nbytes)
    assert verdict.bundle.sha256 == hashlib.sha256((tiny_bundle / "manifest.json").read_bytes()).hexdigest()
    assert (verdict.bundle.name, verdict.bundle.variant) == ("tiny", "fp32")
    assert verdict.engine.name == choose("auto")[0]
    assert set(verdict.milliseconds) == {
        "decode",
        "preprocess",
        "latent_encoder",
        "noising",
        "attributor",
        "decision",
    }


def test_reasons_agree_with_the_answer(screener: protoleak.Screener, images: list[np.ndarray]) -> None:
    for verdict in screener(images):
        assert verdict.why.nearest_prototype.generator == verdict.nearest
        assert verdict.why.runner_up.generator != verdict.nearest
        assert sum(verdict.why.timestep_weights.values()) == pytest.approx(1)
        assert verdict.nearest == max(verdict.scores, key=lambda name: verdict.scores[name])
        assert verdict.probabilities is not None
        assert sum(verdict.probabilities.values()) == pytest.approx(1)


def test_probabilities_are_left_out_without_a_fitted_temperature(
    tiny_files: tuple[Manifest, dict[str, bytes]], tmp_path: Path
) -> None:
    manifest, files = tiny_files
    name = "variants/fp32/calibration.npz"
    calibration = Calibration.from_bytes(files[name], 3, name)
    plain = Calibration(calibration.overall, calibration.per_generator, None)
    write_bundle(tmp_path / "b", manifest, files | {name: plain.to_bytes()})
    assert protoleak.load(tmp_path / "b")(make_image(0, 1))[0].probabilities is None


def test_call_raises_for_a_bad_image_and_each_goes_on(screener: protoleak.Screener, tmp_path: Path) -> None:
    good, bad = make_image(0, 1), tmp_path / "missing.jpg"
    with pytest.raises(MediaError, match=r"missing\.jpg"):
        screener([good, bad])
    outcomes = list(screener.each([bad, good, b"", good, good], 2))
    assert [type(outcome).__name__ for outcome in outcomes] == [
        "MediaError",
        "Verdict",
        "MediaError",
        "Verdict",
        "Verdict",
    ]
    assert str(outcomes[2]) == "image 2: empty, 0 bytes"


def test_preparing_and_judging_apart_give_what_a_call_gives(
    screener: protoleak.Screener, images: list[np.ndarray], tmp_path: Path
) -> None:
    expected = [without_times(verdict) for verdict in screener(images)]
    prepared = [screener.prepare(image) for image in images]
    outcomes = screener.judge(prepared)
    assert all(isinstance(outcome, protoleak.Verdict) for outcome in outcomes)
    assert [without_times(verdict) for verdict in outcomes if isinstance(verdict, protoleak.Verdict)] == expected
    assert screener.judge([]) == []
    with pytest.raises(MediaError, match=r"missing\.jpg: no such file"):
        screener.prepare(tmp_path / "missing.jpg")


def test_each_takes_images_only_as_needed(screener: protoleak.Screener) -> None:
    taken = []

    def endless() -> Iterator[np.ndarray]:
        for seed in range(10**6):
            taken.append(seed)
            yield make_image(0, 1)

    each = screener.each(endless(), 2)
    next(each)
    each.close()  # type: ignore[attr-defined]
    assert len(taken) < 10


def nan_for_bright_images(files: dict[str, bytes]) -> bytes:
    """An encoder whose latent is NaN where an image is white: √(0.9 − mean)."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load_from_string(files["variants/fp32/latent_encoder.onnx"])
    graph = model.graph
    graph.node[-1].output[0] = "latent"
    graph.initializer.append(numpy_helper.from_array(np.float32(0.9), "limit"))
    graph.initializer.append(numpy_helper.from_array(np.float32(0), "zero"))
    graph.initializer.append(numpy_helper.from_array(np.int64([1, 2, 3]), "axes"))
    for node in (
        helper.make_node("ReduceMean", ["centred", "axes"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["limit", "mean"], ["below"]),
        helper.make_node("Sqrt", ["below"], ["root"]),
        helper.make_node("Mul", ["root", "zero"], ["nothing_or_nan"]),
        helper.make_node("Add", ["latent", "nothing_or_nan"], ["z0"]),
    ):
        graph.node.append(node)
    return bytes(model.SerializeToString())


def test_nan_is_an_error_naming_image_and_stage_and_the_rest_of_the_batch_goes_on(
    tiny_files: tuple[Manifest, dict[str, bytes]], tmp_path: Path
) -> None:
    manifest, files = tiny_files
    encoder = nan_for_bright_images(files)
    write_bundle(tmp_path / "b", manifest, files | {"variants/fp32/latent_encoder.onnx": encoder})
    screener = protoleak.load(tmp_path / "b")
    white = np.full((64, 64, 3), 255, np.uint8)
    first, failure, last = screener.each([make_image(0, 1), white, make_image(0, 2)])
    assert isinstance(first, protoleak.Verdict)
    assert isinstance(last, protoleak.Verdict)
    assert isinstance(failure, EngineError)
    assert str(failure).startswith("image 1: the latent encoder gave")


def test_one_image_alone_is_prepared_where_it_is_asked_for(
    screener: protoleak.Screener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread for one image takes longer to begin and end than it could save."""
    threads: list[int] = []

    def noting(data: bytes, upright: bool) -> DecodedImage:
        threads.append(threading.get_ident())
        return decode(data, upright)

    monkeypatch.setattr(screener, "decode", noting)
    buffer = io.BytesIO()
    Image.fromarray(make_image(0, 1)).save(buffer, "PNG")
    alone = screener(buffer.getvalue())
    assert threads == [threading.get_ident()]
    together = screener([buffer.getvalue()] * 2)
    assert threading.get_ident() not in threads[1:]
    assert without_times(alone[0]) == without_times(together[0]) == without_times(together[1])
    [missing] = screener.each(["no/such/file.png"])
    assert isinstance(missing, MediaError)


def test_graph_that_contradicts_the_manifest_is_a_bundle_error(
    tiny_files: tuple[Manifest, dict[str, bytes]], tmp_path: Path
) -> None:
    import onnx

    manifest, files = tiny_files
    model = onnx.load_from_string(files["variants/fp32/attributor.onnx"])
    model.graph.node[-1].attribute[0].i = 1  # log_density keeps its reduced axis: [N, 1]
    write_bundle(tmp_path / "b", manifest, files | {"variants/fp32/attributor.onnx": model.SerializeToString()})
    with pytest.raises(BundleError, match=r"\[1, 1\] for 1 images where log_density float32 \[N\]"):
        protoleak.load(tmp_path / "b")(make_image(0, 1))


def test_zip_bundle_gives_the_same_verdict(
    screener: protoleak.Screener, tiny_files: tuple[Manifest, dict[str, bytes]], tmp_path: Path
) -> None:
    write_bundle(tmp_path / "b.zip", *tiny_files)
    zipped = protoleak.load(tmp_path / "b.zip", threads=1)
    assert without_times(zipped(make_image(0, 1))[0]) == without_times(screener(make_image(0, 1))[0])


def test_options_that_cannot_be_honoured_are_refused_at_once(tiny_bundle: Path) -> None:
    with pytest.raises(CalibrationError):
        protoleak.load(tiny_bundle, alpha=0.0)
    with pytest.raises(CalibrationError, match="smallest possible"):
        protoleak.load(tiny_bundle, alpha=1e-6)
    with pytest.raises(BundleError, match="only fp32"):
        protoleak.load(tiny_bundle, variant="int4")
    with pytest.raises(EngineUnavailable, match="warp"):
        protoleak.load(tiny_bundle, engine="warp")
    with pytest.raises(ProtoleakError, match="batch size 0"):
        next(protoleak.load(tiny_bundle).each([], 0))


def test_damaged_bundle_is_refused_by_load(tiny_bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))
    (copy / "prototypes.npy").unlink()
    with pytest.raises(BundleError, match="prototypes"):
        protoleak.load(copy)


def test_pillow_image_opened_but_not_loaded_is_taken(screener: protoleak.Screener) -> None:
    buffer = io.BytesIO()
    Image.fromarray(make_image(0, 1)).save(buffer, "PNG")
    assert screener(Image.open(buffer))[0].log_density == screener(make_image(0, 1))[0].log_density


def test_verdict_schema_holds_the_documented_fields() -> None:
    assert {field.encode_name for field in msgspec.structs.fields(protoleak.Verdict)} == {
        *(
            "source",
            "verdict",
            "generator",
            "nearest",
            "p_value",
            "real_p_value",
            "accusation_level",
            "generated_p_value",
            "acquittal_level",
            "lacking",
            "claims",
            "disagreement",
            "upright",
            "alpha",
            "calibration",
        ),
        *("log_density", "scores", "probabilities", "why", "notes", "claims", "disagreement", "input"),
        *("bundle", "engine", "milliseconds"),
    }
