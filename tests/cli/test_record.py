"""The record of a run over images is whole, and inputs are never touched."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.cli.conftest import FACES, Run
from tests.json_lines import json_lines
from tests.look_bundle import face_image, group_of_two
from tests.tiny_bundle import make_image


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A group of two, one face, an image without a face, and a damaged file; not to be changed."""
    folder = tmp_path_factory.mktemp("record") / "images"
    folder.mkdir()
    group_of_two().save(folder / "a_group.png")
    face_image("rows", 13).save(folder / "b_one.png")
    Image.fromarray(make_image(0, 5, 160, 180)).save(folder / "c_none.png")
    (folder / "d_damaged.png").write_bytes((folder / "b_one.png").read_bytes()[:200])
    return folder


def timeless(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if name != "milliseconds"} for line in found]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_input_has_a_line_with_its_outcome_reason_and_sha256(
    screen, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert screen(images, images / "missing.png", *FACES, "--out", tmp_path / "r.jsonl") == 1
    found = json_lines(tmp_path / "r.jsonl")
    assert [(Path(line["source"]).name, line["outcome"], line["face"], line["faces"]) for line in found] == [
        ("a_group.png", "verdict", 1, 2),
        ("a_group.png", "verdict", 2, 2),
        ("b_one.png", "verdict", 1, 1),
        ("c_none.png", "no_face", None, None),
        ("d_damaged.png", "error", None, None),
        ("missing.png", "error", None, None),
    ]
    assert {line["schema"] for line in found} == {1}
    for line in found[:-1]:
        assert line["sha256"] == sha256(Path(line["source"]))
    assert found[-1]["sha256"] is None
    for line in found[3:]:
        assert line["verdict"] is None
        assert Path(line["source"]).name in line["reason"]
        assert line["bundle"] == found[0]["bundle"]
    assert "3 failed (1 without a face)" in capsys.readouterr().out


def test_a_run_stopped_between_two_faces_of_one_image_loses_nothing(screen, images: Path, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    screen(images, *FACES, "--out", whole)
    text = whole.read_text().splitlines(keepends=True)
    for kept in range(len(text) + 1):
        part.write_text("".join(text[:kept]))
        assert screen(images, *FACES, "--out", part, "--resume") == 1
        assert timeless(json_lines(part)) == timeless(json_lines(whole)), f"after {kept} lines"


def test_a_file_that_has_changed_is_judged_again_and_one_that_has_not_is_not(
    screen, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(images, tmp_path / "copy")
    out = tmp_path / "r.jsonl"
    screen(folder, *FACES, "--out", out)
    face_image("columns", 14).save(folder / "b_one.png")
    face_image("columns", 15).save(folder / "c_none.png")
    before = len(json_lines(out))
    capsys.readouterr()
    screen(folder, *FACES, "--out", out, "--resume")
    added = json_lines(out)[before:]
    assert [(line["source"], line["sha256"]) for line in added] == [
        (str(folder / name), sha256(folder / name)) for name in ("b_one.png", "c_none.png")
    ]
    assert "2 verdicts" in (printed := capsys.readouterr().out)
    assert "1 already in the file" in printed


def test_what_failed_is_tried_again_and_written_once(screen, images: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(images, tmp_path / "copy")
    out = tmp_path / "r.jsonl"
    screen(folder, *FACES, "--out", out)
    before = out.read_bytes()
    assert screen(folder, *FACES, "--out", out, "--resume") == 1
    assert out.read_bytes() == before
    shutil.copy(folder / "b_one.png", folder / "d_damaged.png")
    screen(folder, *FACES, "--out", out, "--resume")
    assert [line["outcome"] for line in json_lines(out) if line["source"].endswith("d_damaged.png")] == [
        "error",
        "verdict",
    ]


@pytest.mark.parametrize("options", [(), (*FACES, "--margin", 0.5), (*FACES, "--minimum-face", 64)])
def test_other_settings_of_faces_are_not_continued(
    screen, images: Path, tmp_path: Path, options: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.jsonl"
    screen(images, *FACES, "--out", out)
    before = out.read_bytes()
    assert screen(images, *options, "--out", out, "--resume") == 2
    assert "was made with" in capsys.readouterr().err.splitlines()[-1]
    assert out.read_bytes() == before


def test_a_csv_file_that_begins_with_a_failure_has_the_columns_of_a_verdict(
    screen, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r.csv"
    assert screen(images / "d_damaged.png", images / "b_one.png", *FACES, "--out", out) == 1
    header, damaged, one = out.read_text().splitlines()
    assert "box.left" in header.split(",")
    assert damaged.startswith("1,error,")
    assert one.startswith("1,verdict,")


@pytest.mark.parametrize("option", ["--overwrite", "--resume"])
@pytest.mark.parametrize("name", ["itself", "symbolic link", "hard link"])
def test_an_image_that_is_named_as_output_is_refused_untouched(
    screen, images: Path, tmp_path: Path, name: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    image = Path(shutil.copy(images / "b_one.png", tmp_path / "x.jsonl"))
    out = image
    if name != "itself":
        out = tmp_path / "y.jsonl"
        out.symlink_to(image) if name == "symbolic link" else os.link(image, out)
    before = image.read_bytes()
    assert screen(image, "--out", out, option) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --out would replace {out}")
    assert image.read_bytes() == before


def test_an_image_that_is_named_as_the_file_of_embeddings_is_refused_untouched(
    screen, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = Path(shutil.copy(images / "b_one.png", tmp_path / "x.parquet"))
    before = image.read_bytes()
    assert screen(image, "--embeddings", image, "--overwrite") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --embeddings would replace {image}")
    assert image.read_bytes() == before


@pytest.mark.parametrize("name", ["annotated.mp4", "sources/001_clip/annotated.mp4"])
def test_a_video_in_the_output_folder_is_refused_untouched(
    screen, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Named as an earlier run's output is, it would be deleted before it is read."""
    video = tmp_path / "out" / name
    video.parent.mkdir(parents=True)
    video.write_bytes(b"a video")
    assert screen(video, "--out", tmp_path / "out", "--overwrite") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "which is read" in line
    assert video.read_bytes() == b"a video"
    link = tmp_path / "link.mp4"
    link.symlink_to(video)
    assert screen(link, "--out", tmp_path / "out", "--overwrite") == 2
    assert video.read_bytes() == b"a video"


def test_a_file_of_the_bundle_is_no_place_for_statistics(run: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    before = (bundle / "manifest.json").read_bytes()
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"a video")
    assert run("screen", clip, "--bundle", bundle, "--stats", bundle / "manifest.json") == 2
    assert (bundle / "manifest.json").read_bytes() == before
