"""Conformal lists are taken from a user's own images, and what they were before is compared with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import protoleak
from protoleak.bundle.bundle import Bundle
from protoleak.cli.app import main
from protoleak.cli.recalibrate import report_lines
from protoleak.enrolment.recalibrate import CAMERAS, ListCheck, Recalibration, exchangeability
from tests.enrolment.conftest import write_images
from tests.tiny_bundle import CAMERA, make_image


@pytest.fixture(scope="session")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of the two generators as a site has them: darker than those that the bundle was calibrated with."""
    folder = tmp_path_factory.mktemp("site") / "mine"
    for kind, name in enumerate(("dawn", "moss")):
        (folder / name).mkdir(parents=True)
        for index in range(20):
            darker = (make_image(kind, 400 + index) * 0.9).astype(np.uint8)
            Image.fromarray(darker).save(folder / name / f"{index:02d}.png")
    return folder


@pytest.fixture(scope="session")
def own_cameras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred photographs by the site's cameras, which are like those of the bundle's calibration."""
    return write_images(tmp_path_factory.mktemp("site") / "cameras", CAMERA, 100, 300)


def test_lists_are_those_of_the_images_and_the_network_is_untouched(
    tiny_bundle: Path, mine: Path, own_cameras: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a bundle that no generator can be enrolled in, too."""
    out = tmp_path / "out"
    options = ["--data", str(mine), "--photographs", str(own_cameras), "--out", str(out), "--json"]
    assert main(["recalibrate", str(tiny_bundle), *options]) == 0
    report = json.loads(capsys.readouterr().out)["fp32"]
    before, after = Bundle.load(tiny_bundle), Bundle.load(out)
    calibration = after.variant("fp32").calibration
    assert len(calibration.overall) == 140
    assert calibration.real_margins is not None
    assert len(calibration.real_margins) == 100
    assert after.variant("fp32").attributor == before.variant("fp32").attributor
    assert after.manifest.recalibrated is not None
    assert after.manifest.recalibrated.images == {"dawn": 20, "moss": 20, "camera": 100}
    with protoleak.load(out, engine="onnxruntime", threads=1) as screener:
        verdicts = screener([str(file) for file in sorted(own_cameras.iterdir())[:5]])
    listed = {float(margin) for margin in calibration.real_margins}
    for verdict in verdicts:
        margin = verdict.scores["camera"] - max(verdict.scores["dawn"], verdict.scores["moss"])
        assert min(abs(margin - one) for one in listed) < 1e-4
    checks = {check["what"]: check for check in report["checks"]}
    assert checks["camera originals"]["exchangeable"] > 0.01
    assert checks["dawn"]["exchangeable"] <= 0.01
    assert sum(checks["dawn"]["histogram"]) == checks["dawn"]["images"]


def test_too_few_photographs_are_refused_with_the_number_needed(
    tiny_bundle: Path, mine: Path, cameras: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(mine), "--photographs", str(cameras), "--out", str(tmp_path / "out")]
    assert main(["recalibrate", str(tiny_bundle), *options]) == 2
    assert "24 photographs: the accusation level 0.01 needs 99" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_too_few_images_of_generators_are_refused_with_the_number_needed(
    tiny_bundle: Path, own_cameras: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = write_images(tmp_path / "few" / "dawn", 0, 18, 10).parent
    options = ["--data", str(few), "--photographs", str(own_cameras), "--out", str(tmp_path / "out")]
    assert main(["recalibrate", str(tiny_bundle), *options]) == 2
    assert "18 images of generators: alpha 0.05 needs 19" in capsys.readouterr().err


def test_folder_of_another_class_is_refused(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_images(tmp_path / "data" / "dusk", 0, 2, 10).parent
    assert main(["recalibrate", str(tiny_bundle), "--data", str(data), "--out", str(tmp_path / "out")]) == 2
    assert "--data holds dusk, and the bundle knows dawn, moss, camera" in capsys.readouterr().err


def test_generator_is_enrolled_in_a_recalibrated_bundle_and_the_other_way_round(
    enrollable: Path, with_lemon: Path, mine: Path, own_cameras: Path, lemons: Path, tmp_path: Path
) -> None:
    site = ["--data", str(mine), "--photographs", str(own_cameras)]
    added = ["--generator", "lemon", "--data", str(lemons)]
    assert main(["recalibrate", str(enrollable), *site, "--out", str(tmp_path / "a")]) == 0
    assert main(["enrol", str(tmp_path / "a"), *added, "--out", str(tmp_path / "b")]) == 0
    assert main(["recalibrate", str(with_lemon), *site, "--out", str(tmp_path / "c")]) == 0
    for name in ("b", "c"):
        bundle = Bundle.load(tmp_path / name)
        assert bundle.manifest.generators[-1] == "lemon"
        assert bundle.manifest.recalibrated is not None
        assert len(bundle.variant("fp32").calibration.overall) == 180
        with protoleak.load(bundle, engine="onnxruntime", threads=1) as screener:
            said = [one.generator for one in screener([make_image(None, seed) for seed in range(9000, 9010)])]
        assert said.count("lemon") >= 7
    assert main(["enrol", str(tmp_path / "b"), "--remove", "lemon", "--out", str(tmp_path / "d")]) == 0
    assert Bundle.load(tmp_path / "d").variant("fp32").calibration.to_bytes() == (
        Bundle.load(tmp_path / "a").variant("fp32").calibration.to_bytes()
    )


@given(seed=st.integers(0, 2**16))
@settings(max_examples=10, deadline=None)
def test_samples_of_the_same_kind_are_seldom_called_different(seed: int) -> None:
    """A permutation test's p-value is at most u with probability at most u: five of ten below 0.02 would be one in
    millions."""
    random = np.random.default_rng([seed, 1])
    found = [exchangeability(random.normal(size=40), random.normal(size=30), seed) for _ in range(5)]
    assert sum(one <= 0.02 for one in found) <= 3


def test_other_samples_are_called_different_and_equal_values_are_no_evidence() -> None:
    random = np.random.default_rng(0)
    assert exchangeability(random.normal(size=60), random.normal(size=40) + 1.5) <= 0.002
    assert exchangeability(np.ones(30), np.ones(20)) == 1.0


@pytest.mark.parametrize(
    ("what", "exchangeable", "histogram", "warned"),
    [
        (CAMERAS, 0.001, [0, 0, 0, 1, 4, 10, 20, 30, 40, 35], True),
        (CAMERAS, 0.001, [35, 40, 30, 20, 10, 4, 1, 0, 0, 0], False),  # harder: fewer others will be accused
        (CAMERAS, 0.2, [0, 0, 0, 1, 4, 10, 20, 30, 40, 35], False),
        ("dawn", 0.001, [0, 0, 0, 1, 4, 10, 20, 30, 40, 35], False),
    ],
)
def test_photographs_that_are_too_easy_are_warned_of(
    what: str, exchangeable: float, histogram: list[int], warned: bool
) -> None:
    """As those of the training's own sources are: with them, other people's photographs are accused more often."""
    check = ListCheck(what, 100, 140, 0.0075, 0, histogram, exchangeable)
    lines = report_lines(Recalibration([check], 0.06, 0.05, 0.0075, 0.0071))
    assert any("accused more often" in line for line in lines) == warned
    assert any("0.75% promised" in line for line in lines)
