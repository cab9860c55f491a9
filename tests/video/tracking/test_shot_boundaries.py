"""Another shot is seen as such, and motion is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from protoleak.arrays import UInt8Array
from protoleak.video.tracking.shot_boundaries import ShotBoundaryDetector


def scene(seed: int, shift: int = 0, brightness: int = 0) -> UInt8Array:
    """uint8 [180, 320, 3]: large soft patches, moved by some pixels."""
    coarse = np.random.default_rng(seed).integers(20, 220, (9, 16, 3))
    image = np.kron(coarse, np.ones((20, 20, 1), np.int64))
    return np.clip(np.roll(image, shift, axis=1) + brightness, 0, 255).astype(np.uint8)


def cuts(images: list[UInt8Array]) -> list[int]:
    finder = ShotBoundaryDetector()
    return [index for index, image in enumerate(images) if finder.begins_with(image)]


def test_a_cut_is_found_at_the_frame_that_begins_the_shot() -> None:
    assert cuts([scene(1)] * 5 + [scene(2)] * 5 + [scene(1)] * 5) == [5, 10]


def test_a_steady_pan_is_no_cut_however_fast() -> None:
    assert cuts([scene(1, 15 * index) for index in range(30)][1:]) in ([], [1])  # at most the one with which it begins


def test_slow_changes_of_light_are_no_cut() -> None:
    assert cuts([scene(1, brightness=3 * index) for index in range(30)]) == []


def test_a_change_of_size_and_a_frame_of_one_pixel_do_no_harm() -> None:
    finder = ShotBoundaryDetector()
    assert not finder.begins_with(scene(1))
    assert not finder.begins_with(scene(1).repeat(4, axis=0).repeat(4, axis=1))
    finder.begins_with(np.zeros((1, 1, 3), np.uint8))


def test_the_three_cuts_of_the_clip_are_found_and_no_other(shared: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV reads the clip")
    path = shared / "data" / "video" / "short_hamilton_clip.mp4"
    if not path.is_file():
        pytest.skip(f"the clip is not at {path}")
    with av.open(str(path)) as container:
        assert cuts([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]) == [20, 82, 211]
