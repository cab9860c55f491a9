"""Which variant and compute `auto` takes: of those that passed the gate, the fastest on this processor."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

import protoleak
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.manifest import Manifest
from protoleak.bundle.writer import write_bundle
from protoleak.errors import EngineUnavailable
from protoleak.runtime import configuration
from protoleak.runtime.configuration import configure
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.engines.availability import compute_problem
from protoleak.runtime.timings import TimedOn, keep_timings, read_timings, timings_file
from tests.calibrated_bundle import INSTRUCTIONS, SHIFT, calibrated_files
from tests.tiny_bundle import IMAGE_SIZE, make_image

Files = tuple[Manifest, dict[str, bytes]]
TIMED_ON = TimedOn("0" * 64, "openvino", "1.0", "a processor", ["avx2"], 2, None)


def hardware(monkeypatch: pytest.MonkeyPatch, *found: str) -> None:
    """The processor has these instructions, and OpenVINO computes bf16 where it has some for that."""
    monkeypatch.setattr(configuration, "instructions", lambda: frozenset(found))
    problem = None if "avx512_bf16" in found or "amx_bf16" in found else "no bfloat16 here"
    monkeypatch.setattr(
        configuration, "compute_problem", lambda engine, _: problem if engine == "openvino" else "never"
    )


def timed(monkeypatch: pytest.MonkeyPatch, times: Mapping[str, float]) -> list[int]:
    """What a timing here would give. Returns what grows by one entry with each timing."""
    runs: list[int] = []

    def measure(executors: Mapping[str, object], *_: int) -> dict[str, float]:
        runs.append(len(executors))
        return {name: times[name] for name in executors}

    monkeypatch.setattr(configuration, "time_executors", measure)
    monkeypatch.setattr(configuration, "open_executor", lambda *_, **__: NoExecutor())
    return runs


class NoExecutor:
    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROTOLEAK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def calibrated(tiny_files: Files, tmp_path: Path) -> Bundle:
    write_bundle(tmp_path / "b", *calibrated_files(tiny_files))
    return Bundle.load(tmp_path / "b")


def test_the_exporters_times_decide_on_a_processor_with_the_same_instructions(
    calibrated: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    hardware(monkeypatch, *INSTRUCTIONS)
    runs = timed(monkeypatch, {})
    found = configure(calibrated, "openvino")
    assert (found.variant, found.compute, found.timed_here) == ("fp32", "bf16", False)
    assert "fp32 exact 10 ms, fp32 bf16 5 ms" in found.reason
    assert runs == []


def test_another_processor_is_timed_once(calibrated: Bundle, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    hardware(monkeypatch, *INSTRUCTIONS, "amx_bf16")
    runs = timed(monkeypatch, {"fp32 exact": 8.0, "fp32 bf16": 2.0})
    first, second = configure(calibrated, "openvino"), configure(calibrated, "openvino")
    assert (first.compute, first.timed_here) == ("bf16", True)
    assert second == first
    assert runs == [2]
    assert len(list((own_cache / "timings").iterdir())) == 1
    configure(calibrated, "openvino", threads=1)  # another number of threads is another measurement
    assert runs == [2, 2]


def test_a_compute_that_gains_next_to_nothing_is_left_alone(
    calibrated: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    hardware(monkeypatch, *INSTRUCTIONS, "amx_bf16")
    timed(monkeypatch, {"fp32 exact": 8.0, "fp32 bf16": 7.5})
    found = configure(calibrated, "openvino")
    assert found.compute == "exact"
    assert "not worth it" in found.reason


def test_times_that_are_close_are_measured_even_on_the_same_instructions(
    tiny_files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "b", *calibrated_files(tiny_files, milliseconds=9.0))
    hardware(monkeypatch, *INSTRUCTIONS)
    runs = timed(monkeypatch, {"fp32 exact": 8.0, "fp32 bf16": 4.0})
    assert configure(Bundle.load(tmp_path / "b"), "openvino").compute == "bf16"
    assert runs == [2]


def test_without_the_instructions_auto_is_exact_and_says_why(
    calibrated: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    hardware(monkeypatch, "avx2")
    runs = timed(monkeypatch, {})
    found = configure(calibrated, "openvino")
    assert (found.compute, dict(found.left_out)) == ("exact", {"fp32 bf16": "no bfloat16 here"})
    assert runs == []
    with pytest.raises(EngineUnavailable, match="no bfloat16 here: leave --compute bf16 out"):
        configure(calibrated, "openvino", options=EngineOptions(compute="bf16"))


def test_a_compute_is_of_one_engine(calibrated: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    hardware(monkeypatch, *INSTRUCTIONS)
    assert configure(calibrated, "onnxruntime").compute == "exact"


def test_a_bundle_without_computes_is_exact(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hardware(monkeypatch, *INSTRUCTIONS)
    found = configure(Bundle.load(tiny_bundle), "openvino")
    assert (found.compute, found.calibrated) == ("exact", True)
    asked = configure(Bundle.load(tiny_bundle), "openvino", options=EngineOptions(compute="bf16"))
    assert (asked.compute, asked.calibrated) == ("bf16", False)


def test_a_candidate_that_cannot_be_opened_is_left_out_and_not_remembered(
    calibrated: Bundle, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    hardware(monkeypatch, *INSTRUCTIONS, "amx_bf16")
    timed(monkeypatch, {"fp32 exact": 8.0})

    def refuse(*_: object, options: EngineOptions, **__: object) -> NoExecutor:
        if options.compute == "bf16":
            raise EngineUnavailable("OpenVINO gave the precision f32 where bf16 was asked for")
        return NoExecutor()

    monkeypatch.setattr(configuration, "open_executor", refuse)
    found = configure(calibrated, "openvino")
    assert found.compute == "exact"
    assert "where bf16 was asked for" in found.left_out["fp32 bf16"]
    assert not (own_cache / "timings").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"timed_on": null}', b"\xff\xfe"])
def test_a_cache_file_that_is_none_is_as_good_as_missing(content: bytes) -> None:
    keep_timings(TIMED_ON, {"fp32 exact": 1.0})
    assert read_timings(TIMED_ON) == {"fp32 exact": 1.0}
    timings_file(TIMED_ON).write_bytes(content)
    assert read_timings(TIMED_ON) == {}


def test_a_cache_file_of_something_else_is_not_believed() -> None:
    """Such as one that was copied under this name."""
    other = msgspec.structs.replace(TIMED_ON, processor="another")
    keep_timings(other, {"fp32 exact": 1.0})
    timings_file(other).rename(timings_file(TIMED_ON))
    assert read_timings(TIMED_ON) == {}


def test_who_timed_first_is_believed_by_those_that_timed_meanwhile() -> None:
    """Such as the workers of one server: they should choose alike."""
    assert keep_timings(TIMED_ON, {"fp32 exact": 2.0, "fp32 bf16": 1.0}) == {"fp32 exact": 2.0, "fp32 bf16": 1.0}
    assert keep_timings(TIMED_ON, {"fp32 exact": 1.0, "fp32 bf16": 2.0}) == {"fp32 exact": 2.0, "fp32 bf16": 1.0}
    assert keep_timings(TIMED_ON, {"fp32 exact": 3.0, "int8 exact": 1.5}) == {"fp32 exact": 3.0, "int8 exact": 1.5}
    assert set(read_timings(TIMED_ON)) == {"fp32 exact", "fp32 bf16", "int8 exact"}


def test_a_cache_that_cannot_be_written_is_done_without(own_cache: Path) -> None:
    own_cache.write_text("a file where the folder should be")
    keep_timings(TIMED_ON, {"fp32 exact": 1.0})
    assert read_timings(TIMED_ON) == {}


needs_bf16 = pytest.mark.skipif(
    bool(compute_problem("openvino", "bf16")), reason="this processor has no bfloat16 arithmetic"
)


@needs_bf16
def test_verdicts_name_their_compute_and_rest_on_its_thresholds(
    calibrated: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration, "instructions", lambda: frozenset(INSTRUCTIONS))  # no timing
    image = make_image(0, 5, IMAGE_SIZE, IMAGE_SIZE)
    with protoleak.Screener(calibrated, engine="openvino", threads=1) as screener:
        (found,) = screener(image)
    with protoleak.Screener(
        calibrated, engine="openvino", threads=1, engine_options=EngineOptions(compute="exact")
    ) as exact:
        (other,) = exact(image)
    assert found.to_dict()["engine"]["compute"] == found.to_dict()["bundle"]["compute"] == "bf16"
    assert found.engine.settings["bf16"]  # what multiplies it
    assert found.p_value == pytest.approx(1 / (found.calibration.n + 1))  # below all of the shifted list
    assert other.engine.compute == "exact"
    assert "compute" not in other.to_dict()["bundle"]
    assert abs(found.log_density - other.log_density) < SHIFT / 2
    assert other.p_value > found.p_value


@needs_bf16
def test_bf16_that_is_asked_for_without_thresholds_says_whose_judge(tiny_bundle: Path) -> None:
    said: list[str] = []
    options = EngineOptions(compute="bf16", notify=said.append)
    with protoleak.load(tiny_bundle, engine="openvino", threads=1, engine_options=options) as screener:
        (found,) = screener(make_image(0, 5, IMAGE_SIZE, IMAGE_SIZE))
    assert said == ["the bundle has no thresholds for bf16, so those of exact judge"]
    assert found.engine.compute == "bf16"
    assert found.engine.settings["thresholds"] == "of exact, not of bf16"
    assert found.bundle.compute == "exact"


@needs_bf16
def test_a_pickled_screener_keeps_its_compute(calibrated: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "instructions", lambda: frozenset(INSTRUCTIONS))
    with protoleak.Screener(calibrated, engine="openvino", threads=1) as screener:
        assert screener.compute == "bf16"
        stored = pickle.dumps(screener)
    monkeypatch.setattr(configuration, "WORTH", 0.0)  # auto would now take exact
    with pickle.loads(stored) as again:
        assert again.compute == "bf16"
