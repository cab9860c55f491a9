"""Whether several cameras at once are each served: verdicts per second, dropped frames and latency of every source.

    python benchmarks/live_sources.py CLIP --sources 8 --fps 5 --seconds 60 --json benchmarks/results/live_sources.json

The clip is scaled to 640×360 and coded as H.264 at so many frames per second; every source decodes it again and again
at that pace, a little later than the one before, as cameras do that nobody has synchronised.

With --cost one source is screened alone and the processor time is counted: what one second of it takes, with every
frame through the detector in OpenCV, as it once was, with every frame through the detector, and as it is by default, in
turns. A machine whose processors do other work can't show how many sources it keeps up with, but this it can: N sources
need N times as much in each second.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder is there instead

import protoleak
from benchmarks.videos.detection import detection_ways
from protoleak.arrays import UInt8Array
from protoleak.environment.machine import describe_machine
from protoleak.runtime.engine_options import EngineOptions
from protoleak.video.events import Event, FailureEvent
from protoleak.video.frames import Frame, Gap, SourceInfo
from protoleak.video.settings import StreamSettings
from protoleak.video.sink import TrackedFace
from protoleak.video.sources.file import FileSource
from protoleak.video.statistics import Percentiles, Statistics

WIDTH, HEIGHT = 640, 360


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What one source got.

    Attributes:
        latency: capture to verdict, in seconds.
    """

    source: str
    frames_in: int
    frames_processed: int
    frames_dropped: int
    faces_given_up: int
    attributed: int
    verdicts_per_second: float
    latency: Percentiles | None


class PacedSource:
    """A file that is read again and again, live: a frame every 1/rate seconds, whoever looks.

    Args:
        delay: seconds before the first frame.
    """

    def __init__(self, path: Path, name: str, rate: float, delay: float) -> None:
        self._path, self._rate, self._delay = path, rate, delay
        self._closed = threading.Event()
        self.info = SourceInfo(name, "camera", True, WIDTH, HEIGHT, Fraction(rate), None, None)

    def __iter__(self) -> Iterator[Frame | Gap]:
        started, index = time.monotonic() + self._delay, 0
        while not self._closed.is_set():
            file = FileSource(str(self._path))
            for item in file:
                if isinstance(item, Gap):
                    continue
                due = started + index / self._rate
                if self._closed.wait(max(0.0, due - time.monotonic())):
                    break
                yield replace(item, index=index, timestamp=index / self._rate, captured=time.monotonic())
                index += 1
            file.close()

    def close(self) -> None:
        self._closed.set()


@dataclass
class Counted:
    """Keeps the final counts of every source."""

    statistics: list[Statistics]
    failures: int = 0

    def sink(self) -> Counted:
        return self

    def source_failed(self, failure: FailureEvent) -> None:
        raise RuntimeError(failure.message)

    def start(self, info: SourceInfo) -> None:
        pass

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:
        pass

    def event(self, event: Event, crop: UInt8Array | None) -> None:  # noqa: ARG002  # the Sink's signature
        self.failures += isinstance(event, FailureEvent)

    def finish(self, statistics: Statistics) -> None:
        self.statistics.append(statistics)


def paced_clip(clip: Path, rate: float, folder: Path) -> Path:
    """The clip at WIDTH×HEIGHT and so many frames per second."""
    path = folder / "paced.mp4"
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=Fraction(rate), options={"preset": "veryfast", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        count = 0
        for frame in source.decode(video=0):
            if frame.time is None or frame.time < count / rate:
                continue
            scaled = frame.reformat(WIDTH, HEIGHT, "yuv420p")
            scaled.pts, scaled.time_base = count, 1 / Fraction(rate)
            target.mux(stream.encode(scaled))
            count += 1
        target.mux(stream.encode(None))
    return path


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one second of one source takes.

    Attributes:
        frames, frames_detected: in that second: that were followed, and that the detector looked at.
        processor_seconds: of all threads, for all of it; the least of the turns.
        verdicts: in that second, of all faces.
    """

    way: str
    engine: str
    settings: dict[str, str]
    seconds: float
    frames: float
    frames_detected: float
    processor_seconds: float
    verdicts: float


def cost(
    clip: Path, rate: float, seconds: float, every: float, load: Callable[[], protoleak.Screener], turns: int = 2
) -> list[Cost]:
    """Screens so many seconds of one source in each way, in turns, and counts the processor time of all threads."""
    found: dict[str, Cost] = {}
    with tempfile.TemporaryDirectory() as folder, load() as screener:
        path = paced_clip(clip, rate, Path(folder))
        settings = StreamSettings(every=every, max_seconds=seconds)
        ways = detection_ways(screener, settings, screener.detector(settings))
        for turn in range(turns + 1):  # the first makes memory and kernels
            for way, (used, given) in ways.items():
                counted, begun = Counted([]), time.process_time()
                taken = given if turn else replace(given, max_seconds=1.0)
                for _ in screener.streams([PacedSource(path, way, rate, 0.0)], taken, sinks=[counted], detector=used):
                    pass
                spent = (time.process_time() - begun) / seconds
                [statistics] = counted.statistics
                if turn and (way not in found or spent < found[way].processor_seconds):
                    found[way] = Cost(
                        way=way,
                        engine=screener.engine.name,
                        settings=screener.engine.settings,
                        seconds=seconds,
                        frames=statistics.frames_processed / seconds,
                        frames_detected=statistics.frames_detected / seconds,
                        processor_seconds=spent,
                        verdicts=statistics.attributed / seconds,
                    )
    return list(found.values())


def measure(
    clip: Path, sources: int, rate: float, seconds: float, every: float, load: Callable[[], protoleak.Screener]
) -> list[Served]:
    """Screens so many sources at once."""
    with tempfile.TemporaryDirectory() as folder, load() as screener:
        path = paced_clip(clip, rate, Path(folder))
        cameras = [PacedSource(path, f"camera {n}", rate, n / rate / sources) for n in range(sources)]
        counted = Counted([])
        settings = StreamSettings(every=every, max_seconds=seconds)
        for _ in screener.streams(cameras, settings, sinks=[counted]):
            pass
    return [
        Served(
            source=one.source,
            frames_in=one.frames_in,
            frames_processed=one.frames_processed,
            frames_dropped=one.frames_dropped,
            faces_given_up=one.faces_given_up,
            attributed=one.attributed,
            verdicts_per_second=one.attributed / one.seconds,
            latency=one.latency,
        )
        for one in sorted(counted.statistics, key=lambda one: one.source)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--sources", type=int, default=8)
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two verdicts on one person")
    parser.add_argument("--bundle")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--compute", default="auto", help="bf16: where OpenVINO is the engine")
    parser.add_argument("--threads", type=int)
    parser.add_argument(
        "--spinning", action="store_true", help="of ONNX Runtime's threads; `screen` has it for one source"
    )
    parser.add_argument("--cost", action="store_true", help="count processor time instead")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(options.threads or -1)
    engine_options = EngineOptions(compute=options.compute, spinning=options.spinning)
    load = partial(
        protoleak.load, options.bundle, engine=options.engine, threads=options.threads, engine_options=engine_options
    )
    if options.cost:
        costs = cost(options.clip, options.fps, options.seconds, options.every, load)
        for spent in costs:
            together = options.sources * spent.processor_seconds
            print(
                f"{spent.engine}, {spent.way}: a second of one source takes {spent.processor_seconds:.3f} s of "
                f"processor time, with {spent.frames:.1f} frames, {spent.frames_detected:.1f} of them detected, and "
                f"{spent.verdicts:.2f} verdicts; of {options.sources} sources {together:.2f} s"
            )
        _write(options.json, {"fps": options.fps, "every": options.every, "costs": costs})
        return
    served = measure(options.clip, options.sources, options.fps, options.seconds, options.every, load)
    for one in served:
        late = "" if one.latency is None else f", p50 {one.latency.p50:.2f} s, p95 {one.latency.p95:.2f} s"
        print(
            f"{one.source}: {one.verdicts_per_second:.2f} verdicts/s, {one.frames_dropped} of {one.frames_in} frames "
            f"dropped, {one.faces_given_up} faces given up{late}"
        )
    total = sum(one.verdicts_per_second for one in served)
    dropped = sum(one.frames_dropped for one in served) / max(1, sum(one.frames_in for one in served))
    print(f"together: {total:.2f} verdicts/s, {dropped:.1%} of the frames dropped")
    _write(options.json, {"fps": options.fps, "every": options.every, "served": served})


def _write(path: Path | None, found: dict[str, object]) -> None:
    if path is not None:
        facts = {"machine": describe_machine()} | found
        path.write_text(json.dumps(msgspec.to_builtins(facts), indent=1) + "\n")


if __name__ == "__main__":
    main()
