"""Whether a long run over one source keeps its memory, its threads and its file handles; see video.py."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np

from protoleak.runtime.media import UInt8Array
from protoleak.runtime.screener import Screener
from protoleak.video.counters import resident_mib
from protoleak.video.events import Event
from protoleak.video.faces.base import FaceDetector
from protoleak.video.frames import Frame, Gap, SourceInfo
from protoleak.video.pipeline import stream
from protoleak.video.settings import StreamSettings
from protoleak.video.sink import TrackedFace
from protoleak.video.sources.file import FileSource
from protoleak.video.statistics import Statistics

SAMPLES = 40  # of the memory
WARM_UP = 0.25  # share of the frames after which memory is expected to be level
PROCESS = Path("/proc/self")


class Soak(msgspec.Struct, frozen=True, kw_only=True):
    """A long run over one source.

    Attributes:
        resident_mib: (frames told, MiB) pairs.
        slope: MiB per 1,000 frames, least squares over the pairs after the first quarter; None with fewer than two.
        threads, handles: of the process, before and after; None where there is no /proc.
    """

    frames: int
    seconds: float
    resident_mib: list[tuple[int, float]]
    slope: float | None
    threads: tuple[int | None, int | None]
    handles: tuple[int | None, int | None]


@dataclass
class Watch:
    """A sink that keeps the last numbers and, every `interval` frames, the resident memory."""

    interval: int | None = None
    told: int = 0
    resident: list[tuple[int, float]] = field(default_factory=list)
    statistics: Statistics | None = None

    def start(self, info: SourceInfo) -> None:
        pass

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:  # noqa: ARG002  # the Sink's signature
        self.told += 1
        if self.interval is not None and self.told % self.interval == 0:
            self.resident.append((self.told, resident_mib()))
            print(f"  frame {self.told:>7}: {self.resident[-1][1]:8.1f} MiB resident", flush=True)

    def event(self, event: Event, crop: UInt8Array | None) -> None:
        pass

    def finish(self, statistics: Statistics) -> None:
        self.statistics = statistics


class LoopedFile:
    """A clip again and again as one source, with rising timestamps, until `frames` frames have been given.

    Every round opens, decodes and closes the file anew.
    """

    def __init__(self, path: Path, frames: int) -> None:
        self._path, self._frames = str(path), frames
        self._lock = threading.Lock()
        self._closed = False
        self._file = FileSource(self._path)
        self.info = replace(self._file.info, name=f"{self._path}, looped", duration=None)

    def __iter__(self) -> Iterator[Frame | Gap]:
        index, offset, period = 0, 0.0, 1 / float(self.info.rate or 25)
        while True:
            last = 0.0
            for item in self._file:
                last = item.timestamp
                if isinstance(item, Frame):
                    yield replace(item, index=index, timestamp=offset + item.timestamp)
                    index += 1
                    if index == self._frames:
                        return
                else:
                    yield replace(item, timestamp=offset + item.timestamp)
            offset += last + period
            self._file.close()
            with self._lock:
                if self._closed:
                    return
                self._file = FileSource(self._path)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._file.close()


def soak(screener: Screener, detector: FaceDetector, settings: StreamSettings, path: Path, frames: int) -> Soak:
    """Loops the clip until so many frames have gone through, and looks at memory, threads and file handles."""
    gc.collect()  # what earlier work left behind is not this run's
    threads, handles = entries("task"), entries("fd")
    watch, started = Watch(max(1, frames // SAMPLES)), time.monotonic()
    for _ in stream(screener, LoopedFile(path, frames), settings, [watch], detector):
        pass
    seconds = time.monotonic() - started
    gc.collect()
    return Soak(
        frames=watch.told,
        seconds=seconds,
        resident_mib=watch.resident,
        slope=slope([pair for pair in watch.resident if pair[0] > WARM_UP * frames]),
        threads=(threads, entries("task")),
        handles=(handles, entries("fd")),
    )


def slope(pairs: Sequence[tuple[int, float]]) -> float | None:
    """MiB per 1,000 frames, by least squares."""
    if len(pairs) < 2:
        return None
    frames, resident = np.array(pairs, np.float64).T
    return float(1000 * np.polyfit(frames, resident, 1)[0])


def entries(name: str) -> int | None:
    """How many threads ("task") or file handles ("fd") the process has; None where there is no /proc."""
    folder = PROCESS / name
    return len(list(folder.iterdir())) if folder.is_dir() else None
