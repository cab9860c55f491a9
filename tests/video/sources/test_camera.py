"""Webcams and pipelines by OpenCV: what is missing is one line, and what captures is read."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from protoleak.errors import MediaError
from protoleak.video.frames import Frame
from protoleak.video.sources.camera import CameraSource
from tests.video.sources.media import fails, number_of, write


def test_a_webcam_that_is_not_there_is_one_line_and_opencv_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    if Path("/dev/video63").exists():
        pytest.skip("there is a camera 63")
    fails("63", "camera 63", "there is no /dev/video63")
    assert capfd.readouterr() == ("", "")


def test_an_opencv_without_gstreamer_is_one_line_with_the_remedy() -> None:
    if cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        pytest.skip("this OpenCV has GStreamer")
    fails("gst:rtspsrc location=rtsp://a:hunter2@b ! decodebin", "rtsp://***@b", "without GStreamer", "JetPack")


def test_a_pipeline_that_is_empty_is_one_line() -> None:
    fails("gst: ", "no pipeline")


def test_what_opencv_captures_comes_in_rgb_at_the_moment_of_capture(tmp_path: Path) -> None:
    """A file stands in for the device: the same class of OpenCV reads it."""
    source = CameraSource("a pipeline", "gstreamer", cv2.VideoCapture(str(write(tmp_path / "x.mp4"))))
    frames = [item for item in source if isinstance(item, Frame)]
    source.close()
    assert [number_of(frame) for frame in frames] == list(range(60))
    assert [frame.index for frame in frames] == list(range(60))
    assert frames[5].timestamp == pytest.approx(frames[5].captured - frames[0].captured)
    assert (source.info.live, source.info.width, source.info.height) == (True, 96, 64)


def test_a_webcam_that_is_unplugged_is_one_line_after_its_frames(tmp_path: Path) -> None:
    source = CameraSource("camera 0", "camera", cv2.VideoCapture(str(write(tmp_path / "x.mp4"))))
    seen: list[object] = []
    with pytest.raises(MediaError, match=r"camera 0: gives no further frame after 60"):
        seen.extend(source)
    source.close()
    assert len(seen) == 60
