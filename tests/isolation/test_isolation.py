"""Decoding in a worker gives the same as here; a worker that reaches a limit costs one line and no other image."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from protoleak.errors import MediaError
from protoleak.images.decode import open_image
from protoleak.images.isolated import IsolatedDecoder
from protoleak.isolation.limits import Limits
from protoleak.video.frames import Frame
from protoleak.video.sources import open as open_sources
from protoleak.video.sources.open import open_source
from tests.hostile.images import encoded, picture
from tests.hostile.videos import video

PATIENT = Limits(wall_seconds=60.0)  # a busy machine may leave a worker waiting


def test_a_worker_gives_the_same_pixels_notes_and_errors() -> None:
    decoder = IsolatedDecoder(1, PATIENT)
    for data in (encoded(picture(0), "JPEG"), encoded(picture(1).convert("L"), "PNG")):
        here, there = open_image(data), open_image(data, decode=decoder)
        np.testing.assert_array_equal(np.asarray(here.image), np.asarray(there.image))
        assert here.notes == there.notes
    with pytest.raises(MediaError, match="not an image") as caught:
        open_image(bytes(range(256)), decode=decoder)
    assert str(caught.value).startswith("image in memory: ")
    decoder.close()


def test_pixels_above_a_limit_of_ones_own_are_refused_before_they_are_decoded() -> None:
    data = encoded(picture(0).resize((300, 200)), "PNG")
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
    large = encoded(picture(0).resize((5000, 4000)), "BMP")
    started = time.monotonic()
    with pytest.raises(MediaError, match=reason) as caught:
        open_image(large, decode=decoder)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 60  # most of it the start of a worker, on a busy machine
    if "memory" in reason:
        assert open_image(encoded(picture(0), "PNG"), decode=decoder).image.size == (160, 160)
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
