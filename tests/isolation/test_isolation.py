"""Decoding in a worker gives the same as here; a worker that reaches a limit costs one line and no other image."""

from __future__ import annotations

import ast
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from protoleak.errors import MediaError, ProtoleakError
from protoleak.images.isolated import IsolatedDecoder
from protoleak.images.open import open_image
from protoleak.isolation import worker
from protoleak.isolation.limits import Limits
from protoleak.video.frames import Frame
from protoleak.video.sources import open as open_sources
from protoleak.video.sources.open import open_source
from tests.hostile.images import encoded, photograph_like
from tests.hostile.videos import video
from tests.paths import ROOT

PATIENT = Limits(wall_seconds=60.0)  # a busy machine may leave a worker waiting


def test_a_worker_gives_the_same_pixels_notes_and_errors() -> None:
    decoder = IsolatedDecoder(1, PATIENT)
    for data in (encoded(photograph_like(0), "JPEG"), encoded(photograph_like(1).convert("L"), "PNG")):
        here, there = open_image(data), open_image(data, decode=decoder)
        np.testing.assert_array_equal(np.asarray(here.image), np.asarray(there.image))
        assert here.notes == there.notes
    with pytest.raises(MediaError, match="not an image") as caught:
        open_image(bytes(range(256)), decode=decoder)
    assert str(caught.value).startswith("image in memory: ")
    decoder.close()


def test_pixels_above_a_limit_of_ones_own_are_refused_before_they_are_decoded() -> None:
    data = encoded(photograph_like(0).resize((300, 200)), "PNG")
    decoder = IsolatedDecoder(1, PATIENT, maximum_pixels=50_000)
    with pytest.raises(MediaError, match=r"300×200 pixels are 0\.1 megapixels, above the limit of 0\.05"):
        open_image(data, decode=decoder)
    decoder.close()


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(wall_seconds=0.05), "more than 0.05 s"),
        (Limits(wall_seconds=60.0, memory=48 * 2**20), "memory"),
    ],
)
def test_a_worker_that_reaches_a_limit_costs_one_line_and_the_next_image_is_fine(limits: Limits, reason: str) -> None:
    decoder = IsolatedDecoder(1, limits)
    large = encoded(photograph_like(0).resize((5000, 4000)), "BMP")
    started = time.monotonic()
    with pytest.raises(MediaError, match=reason) as caught:
        open_image(large, decode=decoder)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 60  # most of it the start of a worker, on a busy machine
    if "memory" in reason:
        assert open_image(encoded(photograph_like(0), "PNG"), decode=decoder).image.size == (160, 160)
    decoder.close()


def test_a_video_read_in_a_worker_has_the_same_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_sources, "FRAME_SECONDS", 60.0)
    path = tmp_path / "video.mp4"
    path.write_bytes(video("mp4", "mpeg4"))
    frames = []
    for isolate in (False, True):
        source = open_source(str(path), isolate=isolate)
        frames.append([item for item in source if isinstance(item, Frame)])
        assert source.info.sha256 is not None
        source.close()
    here, there = frames
    assert [frame.timestamp for frame in here] == [frame.timestamp for frame in there]
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one.image, other.image)


def test_a_file_that_is_no_video_is_one_line_in_a_worker_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_sources, "FRAME_SECONDS", 60.0)
    path = tmp_path / "video.mp4"
    path.write_bytes(b"#EXTM3U\nfile:///etc/passwd\n")
    with pytest.raises(MediaError, match="playlist"):
        open_source(str(path), isolate=True)


def test_a_frozen_program_is_its_own_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyInstaller's programs are no interpreters. One is played by a script that runs the runtime hook first, as its
    bootloader does, and would complain about an argument that it doesn't know."""
    hook = ROOT / "protoleak" / "pyinstaller" / "rthooks" / "pyi_rth_protoleak.py"
    program = tmp_path / "program"
    program.write_text(
        f"#!{sys.executable}\nimport runpy, sys\nsys.path[:] = {sys.path!r}\nsys.path.insert(0, {str(ROOT)!r})\n"
        f"runpy.run_path({str(hook)!r})\nsys.exit('the program itself ran')\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(program))
    decoder = IsolatedDecoder(1, PATIENT)
    assert open_image(encoded(photograph_like(0), "PNG"), decode=decoder).image.size == (160, 160)
    decoder.close()


def test_pyinstaller_finds_the_runtime_hook_and_the_modules_of_workers() -> None:
    (folder,) = import_module("protoleak.pyinstaller").hook_folders()
    hooks = ast.literal_eval((Path(folder) / "rthooks.dat").read_text())
    (name,) = hooks["protoleak"]
    assert (Path(folder) / "rthooks" / name).is_file()
    for module in worker.MODULES:
        assert callable(import_module(module).main)


def test_only_workers_can_be_started_by_the_frozen_programs_argument() -> None:
    for given in ("no JSON", '[[], "os", [1, 1, 1], 0]'):
        with pytest.raises(ProtoleakError, match="own use"):
            worker.run_frozen(given)
