"""annotated.mp4: the source, sound included, with its faces, their verdicts, and a bar of the verdicts over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from protoleak.arrays import UInt8Array
from protoleak.errors import ProtoleakError
from protoleak.video.events import Event
from protoleak.video.frames import Frame, SourceInfo
from protoleak.video.outputs.encoder import VideoWriter
from protoleak.video.outputs.overlay import draw_faces
from protoleak.video.outputs.timeline import Timeline
from protoleak.video.sink import TrackedFace
from protoleak.video.statistics import Statistics

USUAL_RATE = 25  # of a source that says nothing and shows one image only


class AnnotatedVideo:
    """The sink that writes annotated.mp4: every frame that it is given, at that frame's own time.

    Args:
        path: made with the first frame, so that a source without one leaves no file.
        note: called with one line on what differs from the source; None where nobody wants to know.

    Attributes:
        path: as given.
    """

    def __init__(self, path: Path, note: Callable[[str], None] | None = None) -> None:
        self.path = path
        self._note = note or (lambda _: None)
        self._info: SourceInfo | None = None
        self._writer: VideoWriter | None = None
        self._timeline = Timeline(None)
        self._size = (0, 0)
        self._broken = False
        self._last, self._step = 0.0, 0.0

    def start(self, info: SourceInfo) -> None:
        self._info = info
        self._timeline = Timeline(None if info.live else info.duration)

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:
        if self._info is None or self._broken:
            return
        image = frame.image.copy()
        draw_faces(image, faces)
        if self._writer is None:
            self._size = (image.shape[0], image.shape[1])
            info = self._info
            self._writer = VideoWriter(self.path, self._size, info.rate, info.live, self._note, info.sound)
            if any(length % 2 for length in self._size):
                self._note(f"{self.path.name}: an image of odd size got one more row or column, which H.264 needs")
        if image.shape[:2] != self._size:
            image = _fitted(image, self._size)
        self._timeline.add(frame.timestamp, [face.verdict.label for face in faces])
        self._timeline.draw(image, frame.timestamp)
        try:
            self._writer.add(image, frame.timestamp)
        except ProtoleakError:
            self._broken = True
            raise
        self._step, self._last = frame.timestamp - self._last, frame.timestamp

    def event(self, event: Event, crop: UInt8Array | None) -> None:
        """What it needs of the events is in the faces of the frames."""

    def finish(self, statistics: Statistics) -> None:  # noqa: ARG002 part of Sink
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if self._broken:
            writer.abandon()
        else:
            seconds, whole = self._last_shown()
            writer.close(seconds, whole=whole)

    def _last_shown(self) -> tuple[float, bool]:
        """Seconds for which the last frame is seen, and whether it was the source's last, then seen to its end."""
        info = self._info
        usual = float(1 / info.rate) if info is not None and info.rate else self._step or 1 / USUAL_RATE
        if info is not None and info.duration is not None and not info.live:
            rest = info.duration - self._last
            if 0 < rest <= 2 * max(usual, self._step):
                return rest, True
        return usual, False


def _fitted(image: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    """An image of another size, as after a reconnection, whole and undistorted in one of the first size."""
    scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    page = np.zeros((*size, 3), np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    page[top : top + height, left : left + width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return page
