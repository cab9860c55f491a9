"""A frame becomes RGB when somebody asks for it, and is compared with others before that at no cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protoleak.video.sources.rgb import RgbConverter
from tests.video.sources.media import av, read, write


def made(pixel_format: str) -> Any:
    """A frame as a decoder gives it."""
    noise = np.random.default_rng(0).integers(0, 256, (36, 50, 3), np.uint8)
    return av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(format=pixel_format)


def test_frames_are_converted_once_and_only_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    converted = []
    convert = RgbConverter._rgb
    monkeypatch.setattr(RgbConverter, "_rgb", lambda *given: (converted.append(1), convert(*given))[1])
    frames, _, _ = read(write(tmp_path / "x.mp4"))
    assert {frame.shape for frame in frames} == {frames[0].shape}
    assert {frame.overview.shape for frame in frames} == {frames[0].shape}
    assert converted == []
    assert frames[3].image is frames[3].image
    assert frames[3].image.shape == (*frames[3].shape, 3)
    assert len(converted) == 1


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuvj422p", "nv12", "gray"])
def test_the_overview_of_a_planar_frame_is_its_luma(pixel_format: str) -> None:
    frame = made(pixel_format)
    overview = RgbConverter("made").image(frame).overview()
    expected = frame.reformat(format="gray", src_color_range=2, dst_color_range=2).to_ndarray()
    assert overview.shape == (36, 50)
    assert np.abs(overview.astype(int) - expected).mean() < 3  # swscale may stretch its range


@pytest.mark.parametrize("pixel_format", ["yuyv422", "yuv420p10le", "rgb24", "gbrp"])
def test_the_overview_of_any_other_frame_is_its_rgb(pixel_format: str) -> None:
    image = RgbConverter("made").image(made(pixel_format))
    assert image.overview() is image.rgb()
