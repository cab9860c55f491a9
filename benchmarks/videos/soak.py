"""Whether a long run over one source keeps its memory, its threads and its file handles; see benchmarks/video.py."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import msgspec
import numpy as np

from protoleak.arrays import UInt8Array
from protoleak.environment.memory import resident_mib
from protoleak.faces.base import FaceDetector
from protoleak.screener import Screener
from protoleak.video.events import Event
from protoleak.video.frames import Frame, SourceInfo
from protoleak.video.settings import StreamSettings
from protoleak.video.sink import TrackedFace
from protoleak.video.statistics import Statistics
from protoleak.video.stream import stream

SAMPLES = 40  # of the memory
WARM_UP = 0.25  # share of the frames after which memory is expected to be level
PROCESS = Path("/proc/self")


class Soak(msgspec.Struct, frozen=True, kw_only=True):
    """A long run over one source.

    Attributes:
        resident_mib: (frames seen, MiB) pairs.
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
    frames: int = 0
    resident: list[tuple[int, float]] = field(default_factory=list)
    statistics: Statistics | None = None

    def start(self, info: SourceInfo) -> None:
        pass

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:  # noqa: ARG002  # the Sink's signature
        self.frames += 1
        if self.interval is not None and self.frames % self.interval == 0:
            self.resident.append((self.frames, resident_mib()))
            print(f"  frame {self.frames:>7}: {self.resident[-1][1]:8.1f} MiB resident", flush=True)

    def event(self, event: Event, crop: UInt8Array | None) -> None:
        pass

    def finish(self, statistics: Statistics) -> None:
        self.statistics = statistics


def repeated(path: Path, frames: int, folder: Path) -> Path:
    """A file in `folder` that shows the clip again and again, at least so many frames: its packets are copied, not
    encoded anew."""
    long = folder / f"long{path.suffix}"
    with av.open(str(long), "w") as target:
        made, offset, written = None, 0, 0
        while written < frames:
            end = offset
            with av.open(str(path)) as source:
                video = source.streams.video[0]
                made = made or target.add_stream_from_template(video)
                for packet in source.demux(video):
                    if packet.pts is None or packet.dts is None:
                        continue  # the packet that ends the demuxing
                    packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                    end = max(end, packet.pts + (packet.duration or 1))
                    packet.stream = made
                    target.mux(packet)
                    written += 1
            offset = end
    return long


def soak(screener: Screener, detector: FaceDetector, settings: StreamSettings, path: Path, frames: int) -> Soak:
    """Screens the clip again and again, as one long file, and watches memory, threads and file handles."""
    gc.collect()  # what earlier work left behind is not this run's
    threads, handles = entries("task"), entries("fd")
    watch = Watch(max(1, frames // SAMPLES))
    with tempfile.TemporaryDirectory() as folder:
        long = repeated(path, frames, Path(folder))
        started = time.monotonic()
        for _ in stream(screener, long, settings, [watch], detector):
            pass
        seconds = time.monotonic() - started
    gc.collect()
    return Soak(
        frames=watch.frames,
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
