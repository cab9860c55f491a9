"""Every example runs as a user runs it: as a program of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import EXAMPLES, ROOT


def run(name: str, *arguments: object, folder: Path) -> str:
    """What an example prints, run in a folder of its own; it must end well."""
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "PROTOLEAK_CACHE": str(folder / "cache")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_here() -> None:
    text = Path(__file__).read_text()
    assert all(f'"{path.name}"' in text for path in EXAMPLES.glob("*.py"))


def test_screen_images_judges_images_and_faces_and_goes_on_after_a_damaged_one(tmp_path: Path) -> None:
    out = run("screen_images.py", folder=tmp_path)
    assert re.search(r"photograph\.jpg: (real|unknown)", out)  # whichever the bundle says, nobody is accused
    assert "stable_diffusion_3.jpg: " in out
    assert out.count("error: ") == 1
    assert "face of " in out


def test_screen_video_writes_the_outputs_and_its_own_sink_keeps_a_face(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV decodes the video")
    out = run("screen_video.py", "--out", tmp_path / "out", folder=tmp_path)
    assert "track 1 is " in out
    written = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {"verdicts.jsonl", "tracks.json", "annotated.mp4", "report.html", "track_1.png"} <= written


def test_gpu_tensor_runs_or_says_what_is_missing(tmp_path: Path) -> None:
    out = run("gpu_tensor.py", folder=tmp_path)
    assert "not here: " in out or "on the GPU" in out


def test_a_bundle_is_trained_and_evaluated_from_drawn_images(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch trains the network")
    data = tmp_path / "data"
    assert "40 images each of known/camera" in run("draw_images.py", data, "--images", 40, folder=tmp_path)
    out = run("train_a_bundle.py", data, "--images", 40, "--epochs", 1, folder=tmp_path)
    assert "known/camera/0039.jpg: " in out
    out = run("evaluate_a_bundle.py", data, folder=tmp_path)
    assert "camera images accused: " in out
    report = json.loads((data / "evaluation.json").read_text())
    assert report["variants"][0]["closed_set"]["images"] == 32
    assert (data / "evaluation.html").read_text().startswith("<!doctype html>")
