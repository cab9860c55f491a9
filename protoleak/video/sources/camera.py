"""Webcams and GStreamer pipelines, through OpenCV."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from protoleak.arrays import UInt8Array
from protoleak.errors import MediaError
from protoleak.images.sources import printable
from protoleak.video.frames import Frame, Gap, SourceInfo
from protoleak.video.sources.prefetch import Prefetcher
from protoleak.video.sources.redaction import without_secrets

if TYPE_CHECKING:
    import cv2

NO_GSTREAMER = (
    "this OpenCV was built without GStreamer, as those from PyPI are: use the one that came with JetPack or your "
    "distribution (python3-opencv), or give the rtsp:// address or the file instead of the pipeline"
)


class CameraSource:
    """What OpenCV captures. Always live; timestamps are the moments of capture, since OpenCV passes no others on.

    Args:
        shown: what messages call it.
        kind: "camera" or "gstreamer".
        capture: opened.
        stall_timeout: seconds without a frame, after which it is given up.
    """

    def __init__(self, shown: str, kind: str, capture: cv2.VideoCapture, stall_timeout: float = 10.0) -> None:
        import cv2

        self._shown = shown
        self._capture = capture
        self._stall_timeout = stall_timeout
        rate = capture.get(cv2.CAP_PROP_FPS)
        self.info = SourceInfo(
            name=shown,
            kind=kind,
            live=True,
            width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)) or None,
            height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)) or None,
            rate=Fraction(rate).limit_denominator(1001) if 0 < rate < 1000 else None,
            duration=None,
            sha256=None,
            notes=("timestamps are the moments of capture",),
        )
        self._prefetcher: Prefetcher[Frame] = Prefetcher(f"read {shown}", self._read)

    def __iter__(self) -> Iterator[Frame | Gap]:
        """
        Raises:
            MediaError: no frame came in `stall_timeout` seconds, or the camera was unplugged. A pipeline that ends,
                ends the iteration.
        """
        self._prefetcher.start()
        while True:
            try:
                frame = self._prefetcher.next(self._stall_timeout)
            except TimeoutError:
                raise MediaError(
                    f"{self._shown}: no frame for {self._stall_timeout:g} s: see whether another program has it"
                ) from None
            if frame is None:
                return
            height, width = frame.shape
            if (width, height) != (self.info.width, self.info.height):
                self.info = replace(self.info, width=width, height=height)
            yield frame

    def close(self) -> None:
        """Ends the iteration at once; the device is released by the thread that reads, when its read returns."""
        self._prefetcher.close()
        if not self._prefetcher.started:
            self._capture.release()

    def _read(self) -> Iterator[Frame]:
        import cv2

        first, index = 0.0, 0
        try:
            while not self._prefetcher.closing.is_set():
                there, captured_bgr = self._capture.read()
                if not there:
                    break
                captured = time.monotonic()
                first = captured if index == 0 else first
                image: UInt8Array = cv2.cvtColor(captured_bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
                image.flags.writeable = False
                yield Frame(index, captured - first, image, captured, key=True)
                index += 1
        finally:
            self._capture.release()
        if not self._prefetcher.closing.is_set() and (self.info.kind == "camera" or index == 0):
            raise MediaError(f"{self._shown}: gives no further frame after {index}: see whether it is still plugged in")


def open_camera(number: str) -> CameraSource:
    """The webcam of this number.

    Raises:
        MediaError: there is none, or it can't be opened.
    """
    import cv2

    shown = f"camera {int(number)}"
    capture = _quietly(lambda: cv2.VideoCapture(int(number)))
    if not capture.isOpened():
        raise MediaError(f"{shown}: {_why_no_camera(int(number))}")
    return CameraSource(shown, "camera", capture)


def open_pipeline(name: str) -> CameraSource:
    """A GStreamer pipeline, after `gst:`. One without an `appsink` gets it, with what OpenCV wants before it.

    Raises:
        MediaError: OpenCV has no GStreamer, or the pipeline doesn't start.
    """
    import cv2

    shown = printable(without_secrets(name))
    pipeline = name.partition(":")[2].strip()
    if not pipeline:
        raise MediaError(f"{shown}: no pipeline after gst: give one, such as gst:nvarguscamerasrc ! nvvidconv")
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise MediaError(f"{shown}: {NO_GSTREAMER}")
    if "appsink" not in pipeline:
        # Without a queue in the sink: the pipeline keeps the newest frame itself.
        pipeline += " ! videoconvert ! video/x-raw,format=BGR ! appsink max-buffers=1 drop=true sync=false"
    capture = _quietly(lambda: cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER))
    if not capture.isOpened():
        raise MediaError(f"{shown}: the pipeline doesn't start: try it with gst-launch-1.0")
    return CameraSource(shown, "gstreamer", capture)


def _why_no_camera(number: int) -> str:
    if not sys.platform.startswith("linux"):
        return "can't be opened: see whether it is plugged in, and whether another program has it"
    device = Path(f"/dev/video{number}")
    if not device.exists():
        there = sorted(int(path.name[5:]) for path in Path("/dev").glob("video*") if path.name[5:].isdigit())
        others = f"cameras here: {', '.join(map(str, there))}" if there else "no camera is plugged in here"
        return f"there is no {device}: {others}"
    return f"{device} can't be opened: see whether another program has it, and whether you are in the group video"


def _quietly(opening: Callable[[], cv2.VideoCapture]) -> cv2.VideoCapture:
    """Runs it without OpenCV's own warnings: the reason is said in our words."""
    import cv2

    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return opening()
    finally:
        cv2.utils.logging.setLogLevel(level)
