"""Sources, detectors and sinks whose every frame the tests know."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from protoleak.arrays import UInt8Array
from protoleak.errors import MediaError
from protoleak.faces.base import Face
from protoleak.images.framing import Box
from protoleak.screener import Screener
from protoleak.video.events import Event, FaceEvent
from protoleak.video.frames import Frame, Gap, SourceInfo
from protoleak.video.sink import TrackedFace
from protoleak.video.statistics import Statistics
from tests.tiny_bundle import make_image

HEIGHT, WIDTH, SIDE, RATE = 120, 160, 64, 25


def marked_frame(index: int, faces: Sequence[Face] = (), kind: int = 0) -> UInt8Array:
    """A grey frame with images of one generator where the faces are; its first pixel holds its index."""
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for face in faces:
        left, top, side = round(face.box.left), round(face.box.top), round(face.box.width)
        image[top : top + side, left : left + side] = make_image(kind, index % 50, side, side)
    image[0, 0] = index % 256, index // 256 % 256, index // 65536
    return image


def index_of(image: UInt8Array) -> int:
    red, green, blue = (int(value) for value in image[0, 0])
    return red + 256 * green + 65536 * blue


def one_face(index: int) -> list[Face]:
    """A face that swings slowly from side to side."""
    return [Face(Box(20 + 15 * np.sin(index / 40), 20, SIDE, SIDE), 0.9)]


def no_face(index: int) -> list[Face]:  # noqa: ARG001  # the signature of a script
    return []


def threads_left() -> list[str]:
    """The threads of streams; that which watches over the engines is the process's, and stays."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("protoleak-") and name != "protoleak-watchdog"]


class ScriptedDetector:
    """Finds what the script says of a frame's index, after `seconds` of work."""

    description = "scripted"

    def __init__(self, script: Callable[[int], list[Face]] = one_face, seconds: float = 0.0) -> None:
        self.script, self.seconds = script, seconds
        self.looked_at: list[int] = []

    def __call__(self, image: UInt8Array) -> list[Face]:
        time.sleep(self.seconds)
        self.looked_at.append(index_of(image))
        return self.script(self.looked_at[-1])


class ScriptedSource:
    """Frames, gaps and errors from memory; live ones come at their own pace.

    Args:
        items: a number is that frame; a Gap stands for itself; an exception is raised; a float waits, until `close`.
        live_rate: frames per second of a live source; None for a file.
    """

    def __init__(
        self,
        items: Iterable[int | float | Gap | Exception],
        faces: Callable[[int], list[Face]] = one_face,
        *,
        live_rate: float | None = None,
    ) -> None:
        self.info = SourceInfo(
            "scripted",
            "camera" if live_rate else "file",
            live_rate is not None,
            WIDTH,
            HEIGHT,
            Fraction(RATE),
            None,
            None,
        )
        self._items, self._faces, self._live_rate = items, faces, live_rate
        self._closed = threading.Event()
        self.given = 0

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def __iter__(self) -> Iterator[Frame | Gap]:
        at = time.monotonic()
        for item in self._items:
            if self.closed:
                return
            if isinstance(item, Exception):
                raise item
            if isinstance(item, Gap):
                yield item
            elif isinstance(item, float):
                if self._closed.wait(item):
                    raise MediaError("scripted: closed while it was read")
            else:
                if self._live_rate is not None:
                    at += 1 / self._live_rate
                    self._closed.wait(max(0.0, at - time.monotonic()))
                self.given += 1
                rate = self._live_rate or RATE
                yield Frame(item, item / rate, marked_frame(item, self._faces(item)), time.monotonic())

    def close(self) -> None:
        self._closed.set()


def named(source: ScriptedSource, name: str) -> ScriptedSource:
    """The source under a name of its own."""
    source.info = replace(source.info, name=name)
    return source


class SlowScreener(Screener):
    """The small bundle's real verdicts, `seconds` late for each batch."""

    seconds = 0.0

    def each(self, *given: Any, **named: Any) -> Any:
        time.sleep(self.seconds)
        yield from super().each(*given, **named)


@dataclass
class RecordingSink:
    """Remembers what it was called with; raises where it is asked to."""

    fail_at: str | None = None
    calls: list[str] = field(default_factory=list)
    frames: list[tuple[int, Sequence[TrackedFace]]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    crops: list[UInt8Array] = field(default_factory=list)
    statistics: Statistics | None = None

    def start(self, info: SourceInfo) -> None:  # noqa: ARG002
        self._call("start")

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:
        self._call("frame")
        self.frames.append((frame.index, faces))

    def event(self, event: Event, crop: UInt8Array | None) -> None:
        self._call("event")
        self.events.append(event)
        assert (crop is not None) == isinstance(event, FaceEvent)
        if crop is not None:
            self.crops.append(crop)

    def finish(self, statistics: Statistics) -> None:
        self.statistics = statistics
        self._call("finish")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.fail_at:
            raise OSError("no space left on the disk")
