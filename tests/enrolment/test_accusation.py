"""How often a camera original may be accused by a bundle that generators were enrolled in."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from protoleak.bundle.bundle import Bundle
from protoleak.bundle.manifest import MANIFEST
from protoleak.bundle.writer import write_bundle
from protoleak.cli.app import main
from protoleak.enrolment.accusation import accusation_bound
from protoleak.runtime.conformal import accusation_level
from protoleak.text import percentage
from tests.enrolment.conftest import write_images
from tests.tiny_bundle import CAMERA


@pytest.fixture(scope="module")
def exported(enrollable: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose camera margins are of other images than its record's, as one with left-out sources has them."""
    bundle = Bundle.load(enrollable)
    calibration = replace(bundle.variant("fp32").calibration, generated_margins=np.arange(-50.0, -20.0))
    files = dict(bundle.contents()) | {"variants/fp32/calibration.npz": calibration.to_bytes()}
    del files[MANIFEST]
    out = tmp_path_factory.mktemp("exported") / "bundle"
    write_bundle(out, bundle.manifest, files)
    return out


@pytest.fixture(scope="module")
def with_one(exported: Path, lemons: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a generator enrolled."""
    out = tmp_path_factory.mktemp("one") / "bundle"
    assert main(["enrol", str(exported), "--generator", "lemon", "--data", str(lemons), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def with_two(with_one: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second generator beside the first."""
    data, out = tmp_path_factory.mktemp("slate"), tmp_path_factory.mktemp("two") / "bundle"
    random = np.random.default_rng(3)
    for index in range(24):
        pixels = np.clip(np.array((60, 200, 220)) + random.normal(0, 25, (80, 72, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(data / f"{index}.png")
    assert main(["enrol", str(with_one), "--generator", "slate", "--data", str(data), "--out", str(out)]) == 0
    return out


def bound(path: Path, alpha: float = 0.05) -> float | None:
    bundle = Bundle.load(path)
    return accusation_bound(bundle.manifest, "fp32", bundle.variant("fp32").calibration, alpha)


def test_each_enrolled_generator_adds_what_its_offset_was_chosen_on(
    exported: Path, with_one: Path, with_two: Path
) -> None:
    bundle = Bundle.load(exported)
    calibration = bundle.variant("fp32").calibration
    assert calibration.real_margins is not None
    level = accusation_level(len(calibration.real_margins), 0.05, calibration.accusation_share)
    cameras = int((bundle.enrolment.record("fp32").labels == CAMERA).sum())
    assert bound(exported) == level
    assert bound(with_one) == pytest.approx(level + 1 / (cameras + 1))
    assert bound(with_two) == pytest.approx(level + 2 / (cameras + 1))
    reported = Bundle.load(with_two).manifest.enrolled[-1].measured["fp32"]["accusation_bound"]
    assert reported == pytest.approx(bound(with_two))


def test_offsets_promise_nothing_above_the_alpha_that_they_were_chosen_at(exported: Path, with_one: Path) -> None:
    assert bound(with_one, 0.06) is None
    assert bound(exported, 0.06) is not None


def test_a_list_of_ones_own_photographs_needs_no_addition(with_two: Path, tmp_path: Path) -> None:
    cameras = write_images(tmp_path / "cameras", CAMERA, 100, 2000)
    for kind, name in enumerate(("dawn", "moss")):
        write_images(tmp_path / "mine" / name, kind, 12, 3000)
    options = ["--data", str(tmp_path / "mine"), "--photographs", str(cameras), "--out", str(tmp_path / "site")]
    assert main(["recalibrate", str(with_two), *options]) == 0
    recalibrated = Bundle.load(tmp_path / "site").manifest.recalibrated
    assert recalibrated is not None
    measured = recalibrated.measured["fp32"]
    assert measured["accusation_before"] == pytest.approx(bound(with_two))
    assert measured["accusation_after"] == bound(tmp_path / "site") == accusation_level(100, 0.05)


def test_inspect_says_the_bound_and_what_was_measured_before_the_change(
    with_one: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(with_one)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Since this bundle was exported, lemon was enrolled." in text
    assert f"a generator is named for at most {percentage(bound(with_one))} of camera originals" in text
    assert main(["inspect", str(with_one), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["changes"] == ["lemon was enrolled"]
    assert summary["variants"]["fp32"]["accusation_bound"] == bound(with_one)
    assert main(["inspect", str(with_one), "--alpha", "0.1"]) == 0
    assert "nothing is promised above the alpha" in " ".join(capsys.readouterr().out.split())


def test_what_was_measured_before_an_enrolment_is_not_said_of_the_bundle_after_it(
    with_one: Path, lemons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["screen", str(lemons), "--bundle", str(with_one), "--report", str(tmp_path / "report")]
    assert main(command) == 0
    said = "In this bundle's own test before lemon was enrolled, 1 of 40 photographs of real faces"
    assert said in " ".join(capsys.readouterr().out.split())
    assert said in html.unescape((tmp_path / "report" / "report.html").read_text())
