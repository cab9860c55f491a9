"""`protoleak screen` with a bundle that looks at faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from protoleak.choices import MINIMUM_FACE
from protoleak.faces.yunet import YuNetDetector
from protoleak.runtime.pipeline import ImagePipeline
from tests.cli.conftest import CPU, Run
from tests.json_lines import json_lines
from tests.look_bundle import face_image, group_of_two
from tests.tiny_bundle import make_image


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A group of two, one face, one image without, and a black one."""
    folder = tmp_path / "images"
    folder.mkdir()
    group_of_two().save(folder / "a_group.png")
    face_image("rows", 13).save(folder / "b_one.png")
    Image.fromarray(make_image(0, 5, 160, 180)).save(folder / "c_none.png")
    return folder


def test_every_face_of_a_still_has_a_line_and_an_image_without_a_face_is_an_error_by_name(
    images: Path, exported_looks: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "verdicts.jsonl"
    assert run("screen", images, "--bundle", exported_looks, "--out", out, *CPU) == 1
    found = json_lines(out)
    assert [Path(line["source"]).name for line in found] == ["a_group.png", "a_group.png", "b_one.png", "c_none.png"]
    for line in found[:3]:
        assert line["box"]["width"] > 48
        assert set(line["why"]["look_weights"]) == {"face", "native", "image"}
        assert line["lacking"] is None
        assert line["acquittal_level"] == 0.05
    printed = capsys.readouterr()
    assert (
        f"c_none.png: no face of {MINIMUM_FACE} pixels or more (--minimum-face, --face-score) was found" in printed.err
    )
    assert "YuNet" in printed.err


def test_faces_of_the_first_image_are_found_once_though_it_is_before_the_engines_are_open(
    images: Path, exported_looks: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looked_at: list[tuple[int, ...]] = []
    find = YuNetDetector.__call__
    monkeypatch.setattr(
        YuNetDetector, "__call__", lambda self, image: looked_at.append(image.shape) or find(self, image)
    )
    one, none = images / "b_one.png", images / "c_none.png"
    assert run("screen", one, none, "--bundle", exported_looks, *CPU) == 1
    assert len(looked_at) == 2
    assert run("screen", none, one, "--bundle", exported_looks, *CPU) == 1
    assert len(looked_at) == 4
    assert capsys.readouterr().err.count("c_none.png: no face of") == 2


def test_faces_none_judges_every_image_whole_as_a_pipeline_does(
    images: Path, exported_looks: Path, run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "verdicts.jsonl"
    assert run("screen", images, "--bundle", exported_looks, "--out", out, "--faces", "none", *CPU) == 0
    found = json_lines(out)
    assert [Path(line["source"]).name for line in found] == ["a_group.png", "b_one.png", "c_none.png"]
    with ImagePipeline(exported_looks, engine="onnxruntime", threads=1) as pipeline:
        for line in found:
            (verdict,) = pipeline(line["source"])
            assert "box" not in line
            assert line["verdict"] == verdict.label
            assert line["input"]["sha256"] == verdict.input.sha256
            assert line["scores"] == pytest.approx(verdict.scores, rel=1e-4)


def test_limits_of_the_detector_hold_though_nobody_named_it(
    images: Path, exported_looks: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--bundle", exported_looks, "--minimum-face", 170, *CPU)
    assert run("screen", images / "b_one.png", *given) == 2
    assert "no face of 170 pixels or more" in capsys.readouterr().err


def test_a_black_image_judged_whole_is_unknown_with_a_note(
    exported_looks: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.zeros((200, 200, 3), np.uint8)).save(tmp_path / "black.png")
    out = tmp_path / "verdicts.jsonl"
    given = ("--bundle", exported_looks, "--faces", "none", "--alpha", 0.9, "--out", out)
    assert run("screen", tmp_path / "black.png", *given, *CPU) == 0
    (line,) = json_lines(out)
    assert (line["verdict"], line["generator"]) == ("unknown", None)
    assert line["lacking"].startswith("without content")
    assert line["lacking"] in line["notes"]
    assert "without content" in capsys.readouterr().err
