"""Generators are added and taken away on the device, within limits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import protoleak
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.enrolment import BASE, ENROLMENT
from protoleak.bundle.manifest import MANIFEST
from protoleak.bundle.writer import write_bundle
from protoleak.cli.app import main
from protoleak.errors import BundleError
from tests.enrolment.conftest import write_images
from tests.tiny_bundle import COLOURS, IMAGE_SIZE, make_image


def said(bundle: Path, kind: int | None, seeds: range) -> list[str | None]:
    """Generators that are named for images of a class."""
    with protoleak.load(bundle, engine="onnxruntime", threads=1) as screener:
        return [
            verdict.generator
            for verdict in screener([make_image(kind, seed, IMAGE_SIZE, IMAGE_SIZE) for seed in seeds])
        ]


def test_enrolled_generator_is_named_and_the_others_are_as_before(enrollable: Path, with_lemon: Path) -> None:
    fresh = range(9000, 9020)
    assert set(said(enrollable, None, fresh)) == {None}
    assert said(with_lemon, None, fresh).count("lemon") >= 15
    for kind in range(len(COLOURS)):
        before, after = said(enrollable, kind, fresh), said(with_lemon, kind, fresh)
        assert "lemon" not in after
        assert sum(a != b for a, b in zip(before, after, strict=True)) <= 2


def test_same_image_has_the_same_numbers_alone_and_in_a_batch(with_lemon: Path) -> None:
    images = [make_image(kind, 9101, IMAGE_SIZE, IMAGE_SIZE) for kind in (None, 0, 2)]
    with protoleak.load(with_lemon, engine="onnxruntime", threads=1) as screener:
        together, alone = screener(images), [screener(image)[0] for image in images]
    assert [one.scores for one in together] == [one.scores for one in alone]
    assert [one.log_density for one in together] == [one.log_density for one in alone]
    assert together[0].why.nearest_prototype.generator == "lemon"


def test_manifest_says_where_the_addition_came_from(enrollable: Path, with_lemon: Path) -> None:
    bundle = Bundle.load(with_lemon)
    (added,) = bundle.manifest.enrolled
    assert (added.name, added.images, added.skipped) == ("lemon", 40, [])
    assert bundle.manifest.generators == [*Bundle.load(enrollable).manifest.generators, "lemon"]
    assert added.measured["fp32"]["newcomer"]["images"] == 40
    assert bundle.base is not None
    assert bundle.base.files[MANIFEST] == (enrollable / MANIFEST).read_bytes()


def test_removed_generator_leaves_the_bundle_as_it_was_exported(
    enrollable: Path, with_lemon: Path, tmp_path: Path
) -> None:
    assert main(["enrol", str(with_lemon), "--remove", "lemon", "--out", str(tmp_path / "back")]) == 0
    for file in enrollable.rglob("*"):
        if file.is_file():
            assert (tmp_path / "back" / file.relative_to(enrollable)).read_bytes() == file.read_bytes()
    assert Bundle.load(tmp_path / "back").sha256 == Bundle.load(enrollable).sha256


def test_second_generator_is_enrolled_beside_the_first_and_the_first_can_be_removed(
    with_lemon: Path, tmp_path: Path
) -> None:
    from PIL import Image

    data = tmp_path / "slate"
    data.mkdir()
    random = np.random.default_rng(3)
    for index in range(24):
        pixels = np.clip(np.array((60, 200, 220)) + random.normal(0, 25, (80, 72, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(data / f"{index}.png")
    both, rest = tmp_path / "both", tmp_path / "rest.zip"
    assert main(["enrol", str(with_lemon), "--generator", "slate", "--data", str(data), "--out", str(both)]) == 0
    assert said(both, None, range(9000, 9010)).count("lemon") >= 7
    assert main(["enrol", str(both), "--remove", "lemon", "--out", str(rest)]) == 0
    assert Bundle.load(rest).manifest.generators[-1] == "slate"
    assert "lemon" not in said(rest, None, range(9000, 9010))
    with protoleak.load(rest, engine="onnxruntime", threads=1) as screener:
        assert [one.generator for one in screener([str(data / "0.png"), str(data / "1.png")])] == ["slate"] * 2


def test_too_few_images_are_refused_with_the_number_that_alpha_needs(
    enrollable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = write_images(tmp_path / "few", None, 19, 100)
    options = ["--generator", "lemon", "--data", str(few), "--out", str(tmp_path / "out")]
    assert main(["enrol", str(enrollable), *options]) == 2
    error = capsys.readouterr().err
    assert "19 images" in error
    assert "alpha 0.05 needs 20" in error
    assert not (tmp_path / "out").exists()


def test_same_file_counts_once(enrollable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_images(tmp_path / "data", None, 19, 100)
    (data / "again.png").write_bytes((data / "000.png").read_bytes())
    options = ["--generator", "lemon", "--data", str(data), "--out", str(tmp_path / "out")]
    assert main(["enrol", str(enrollable), *options]) == 2
    assert "the same file as" in capsys.readouterr().err


def test_images_that_are_like_photographs_are_refused_and_the_message_says_what_forbids_them(
    enrollable: Path, cameras: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ["--generator", "copycat", "--data", str(cameras), "--out", str(out), "--json"]
    assert main(["enrol", str(enrollable), *options]) == 2
    captured = capsys.readouterr()
    assert "copycat was not enrolled, nothing was written; forbidden by" in captured.err
    assert "held-out images of the new generator" in captured.err
    report = json.loads(captured.out)
    assert report["refused"]
    assert not out.exists()


def test_photographs_that_would_be_accused_forbid_an_enrolment(
    enrollable: Path, lemons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Photographs of which every second one, those that are measured on, look like the new generator."""
    from PIL import Image

    faces = tmp_path / "faces"
    faces.mkdir()
    for index in range(20):
        Image.fromarray(make_image(2 if index % 2 == 0 else None, 8000 + index)).save(faces / f"{index:02d}.png")
    options = ["--generator", "lemon", "--data", str(lemons), "--out", str(tmp_path / "out")]
    assert main(["enrol", str(enrollable), *options, "--photographs", str(faces)]) == 2
    assert "forbidden by the photographs" in capsys.readouterr().err
    assert main(["enrol", str(enrollable), *options, "--photographs", str(faces), "--accused", "10"]) == 0


@pytest.mark.parametrize("name", ["moss", "unknown", "real", " ", "a/b", "x" * 101])
def test_names_that_cannot_be_used_are_refused(enrollable: Path, lemons: Path, tmp_path: Path, name: str) -> None:
    options = ["--generator", name, "--data", str(lemons), "--out", str(tmp_path / "out")]
    assert main(["enrol", str(enrollable), *options]) == 2
    assert not (tmp_path / "out").exists()


def test_bundle_without_a_record_is_refused_with_the_remedy(
    tiny_bundle: Path, lemons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--generator", "lemon", "--data", str(lemons), "--out", str(tmp_path / "out")]
    assert main(["enrol", str(tiny_bundle), *options]) == 2
    assert "export the bundle again" in capsys.readouterr().err


def test_unknown_name_cannot_be_removed(with_lemon: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["enrol", str(with_lemon), "--remove", "moss", "--out", str(tmp_path / "out")]) == 2
    assert "enrolled are lemon" in capsys.readouterr().err


def test_signature_of_the_base_stays_checkable_and_the_addition_has_its_own(
    enrollable: Path, lemons: Path, tmp_path: Path
) -> None:
    pytest.importorskip("cryptography", reason="it signs")
    from protoleak.bundle.signature import new_key, read_private_key
    from protoleak.bundle.writer import sign_bundle

    vendor, own = new_key(tmp_path / "vendor"), new_key(tmp_path / "own")
    signed, out = tmp_path / "signed.zip", tmp_path / "out"
    base = Bundle.load(enrollable)
    write_bundle(signed, base.manifest, {name: base.contents()[name] for name in base.manifest.files})
    sign_bundle(Bundle.load(signed), read_private_key(tmp_path / "vendor", lambda: ""))
    options = ["--generator", "lemon", "--data", str(lemons), "--out", str(out), "--key", str(tmp_path / "own")]
    assert main(["enrol", str(signed), "--trusted-key", str(tmp_path / "vendor.pub"), *options]) == 0
    bundle = Bundle.load(out, trusted_key=tmp_path / "own.pub")
    assert bundle.base is not None
    assert bundle.base.signer is not None
    assert (bundle.base.signer.key, bundle.base.signer.checked) == (vendor, True)
    assert bundle.signer is not None
    assert (bundle.signer.key, bundle.signer.trusted) == (own, True)
    assert main(["enrol", str(out), "--remove", "lemon", "--out", str(tmp_path / "back")]) == 0
    back = Bundle.load(tmp_path / "back", trusted_key=tmp_path / "vendor.pub")
    assert back.sha256 == Bundle.load(signed).sha256


@pytest.mark.parametrize("kept", [[ENROLMENT], [f"{BASE}{MANIFEST}"], [f"{BASE}prototypes.npy"]])
def test_changed_bundle_whose_base_is_incomplete_is_refused(with_lemon: Path, tmp_path: Path, kept: list[str]) -> None:
    bundle = Bundle.load(with_lemon)
    files = {name: bundle.contents()[name] for name in bundle.manifest.files if name not in kept}
    write_bundle(tmp_path / "broken", bundle.manifest, files)
    with pytest.raises(BundleError, match="missing"):
        Bundle.load(tmp_path / "broken")


def test_changed_prototypes_of_the_base_are_refused(with_lemon: Path, tmp_path: Path) -> None:
    from protoleak.bundle.writer import array_bytes

    bundle = Bundle.load(with_lemon)
    changed = bundle.prototypes.copy()
    changed[0] += 1
    files = {name: bundle.contents()[name] for name in bundle.manifest.files}
    write_bundle(tmp_path / "broken", bundle.manifest, files | {"prototypes.npy": array_bytes(changed)})
    with pytest.raises(BundleError, match="prototypes of its base were changed"):
        Bundle.load(tmp_path / "broken")


def test_an_ensemble_for_triton_refuses_what_its_graphs_do_not_know(
    with_lemon: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from protoleak.cli.app import main

    assert main(["triton", str(with_lemon), "--out", str(tmp_path / "ensemble")]) != 0
    assert "lemon was enrolled" in capsys.readouterr().err
    assert not (tmp_path / "ensemble").exists()
    assert main(["triton", str(with_lemon), "--single", "--out", str(tmp_path / "single")]) == 0
