"""How fast a clip is screened, where the processor time goes, and whether a long run keeps its memory.

    python benchmarks/video.py CLIP --json benchmarks/results/video.json
    python benchmarks/video.py CLIP --soak 20000

The clip is measured at 640×360 and 1280×720, scaled where it has another size. It is read as a file, of which no
frame is left out: latency is then the time a frame spends in the queues and stages, not that of a camera.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import av
import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder is there instead

import protoleak
from benchmarks.video_soak import Watch, soak
from protoleak.environment.machine import describe_machine
from protoleak.faces.base import FaceDetector
from protoleak.faces.open import open_detector
from protoleak.screener import Screener
from protoleak.video.events import FaceEvent, TrackEvent
from protoleak.video.settings import StreamSettings
from protoleak.video.sources.file import FileSource
from protoleak.video.statistics import Percentiles
from protoleak.video.stream import stream

TARGET_FPS = {(640, 360): 30.0, (1280, 720): 15.0}
VERDICTS_PER_SECOND = 1.0


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """One clip at one size.

    Attributes:
        fps: processed frames per second of wall time.
        cpu_seconds: stage → processor time of its thread; see `Statistics`.
        cpu_seconds_elsewhere: the process's total less their sum: threads of the codec, of OpenCV and of the engine.
        latency: decoded to verdict, in seconds; None where no face was attributed.
        verdicts: attributed faces.
        face_seconds: how long faces were in the image, added up over tracks.
    """

    width: int
    height: int
    frames: int
    seconds: float
    fps: float
    cpu_seconds: dict[str, float]
    cpu_seconds_elsewhere: float
    latency: Percentiles | None
    verdicts: int
    face_seconds: float

    @property
    def verdicts_per_face_second(self) -> float:
        return self.verdicts / self.face_seconds if self.face_seconds else 0.0


def scaled_clip(path: Path, size: tuple[int, int], folder: Path) -> Path:
    """The clip with frames of `size` (width, height): itself where it has them, else a new H.264 file in `folder`."""
    with av.open(str(path)) as source:
        video = source.streams.video[0]
        if (video.width, video.height) == size:
            return path
        scaled = folder / f"{size[0]}x{size[1]}.mp4"
        with av.open(str(scaled), "w") as target:
            made = target.add_stream("libx264", rate=video.average_rate)
            made.width, made.height, made.pix_fmt = *size, "yuv420p"
            made.time_base = video.time_base
            for frame in source.decode(video):
                larger = frame.reformat(*size, format="yuv420p")
                larger.pts, larger.time_base = frame.pts, frame.time_base
                target.mux(made.encode(larger))
            target.mux(made.encode(None))
    return scaled


def measure(screener: Screener, detector: FaceDetector, settings: StreamSettings, path: Path) -> Speed:
    """Screens a file once, from its first frame to its last verdict."""
    source, watch = FileSource(str(path)), Watch()
    info, before = source.info, time.process_time()
    events = list(stream(screener, source, settings, [watch], detector))
    spent, statistics = time.process_time() - before, watch.statistics
    assert statistics is not None  # the stream has finished its sinks
    tracked = sum(event.frames for event in events if isinstance(event, TrackEvent))
    return Speed(
        width=info.width or 0,
        height=info.height or 0,
        frames=statistics.frames_processed,
        seconds=statistics.seconds,
        fps=statistics.fps_processed,
        cpu_seconds=statistics.cpu_seconds,
        cpu_seconds_elsewhere=spent - sum(statistics.cpu_seconds.values()),
        latency=statistics.latency,
        verdicts=sum(isinstance(event, FaceEvent) for event in events),
        face_seconds=tracked / float(info.rate or 25),
    )


def targets(speeds: Sequence[Speed]) -> list[tuple[str, float, str, bool]]:
    """Each target: what, the number, the limit in words, whether it is met."""
    found = []
    for speed in speeds:
        size, limit = f"{speed.width}×{speed.height}", TARGET_FPS.get((speed.width, speed.height))
        if limit is not None:
            found.append((f"fps processed, {size}", speed.fps, f"≥ {limit:g}", speed.fps >= limit))
        rate = speed.verdicts_per_face_second
        what = f"verdicts per face and second, {size}"
        found.append((what, rate, f"≥ {VERDICTS_PER_SECOND:g}", rate >= VERDICTS_PER_SECOND))
    return found


def show(speed: Speed) -> None:
    print(f"{speed.width}×{speed.height}: {speed.frames} frames in {speed.seconds:.2f} s, {speed.fps:.1f} fps")
    stages = {**speed.cpu_seconds, "codec, OpenCV, engine": speed.cpu_seconds_elsewhere}
    for name, seconds in stages.items():
        print(f"  CPU {name:<22} {seconds:7.2f} s {1000 * seconds / max(1, speed.frames):7.2f} ms per frame")
    if latency := speed.latency:
        p50, p95, p99 = (1000 * value for value in (latency.p50, latency.p95, latency.p99))
        print(f"  latency p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f} ms ({latency.n} faces)")
    print(f"  {speed.verdicts} verdicts in {speed.face_seconds:.1f} s of faces")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--face-model", type=Path, help="a YuNet ONNX file; left out, the bundle's own")
    parser.add_argument("--bundle", help="left out, the one that comes with protoleak")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--soak", type=int, metavar="FRAMES", help="repeat the clip for so many frames afterwards")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args()
    if options.soak is not None and options.soak < 1:
        parser.error(f"--soak {options.soak}: give 1 frame or more")

    machine = describe_machine()
    priority = os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else None
    screener = protoleak.load(options.bundle, engine=options.engine)
    settings = StreamSettings(faces="yunet", face_model=options.face_model)
    detector = open_detector(settings, screener.bundle)
    print(f"{screener.bundle.manifest.name}, {screener.variant}, {screener.engine.name}; {machine.processor}")
    print(f"  load average {machine.load_average} (a busy machine makes these numbers worse)")
    with tempfile.TemporaryDirectory() as folder:
        clips = [scaled_clip(options.clip, size, Path(folder)) for size in TARGET_FPS]
        measure(screener, detector, settings, clips[0])  # warms up
        speeds = [measure(screener, detector, settings, clip) for clip in clips]
    for speed in speeds:
        show(speed)
    found = targets(speeds)
    for what, number, limit, met in found:
        print(f"  {'met   ' if met else 'MISSED'} {what}: {number:.2f} ({limit})")
    long = soak(screener, detector, settings, options.clip, options.soak) if options.soak else None
    if long is not None:
        grown = "not known" if long.slope is None else f"{long.slope:+.3f} MiB per 1,000 frames"
        print(f"soak: {long.frames} frames in {long.seconds:.0f} s; memory {grown}")
        print("  before and after: threads {} and {}, file handles {} and {}".format(*long.threads, *long.handles))
    if options.json:
        result = {
            "what": "screening of a clip read as a file, every frame of it",
            "clip": options.clip.name,
            "bundle": {"name": screener.bundle.manifest.name, "sha256": screener.bundle.sha256},
            "variant": screener.variant,
            "engine": screener.engine.name,
            "real_time_priority": priority is not None and priority != os.SCHED_OTHER,
            "speeds": [
                msgspec.to_builtins(speed) | {"verdicts_per_face_second": speed.verdicts_per_face_second}
                for speed in speeds
            ],
            "targets": [dict(zip(("what", "number", "limit", "met"), each, strict=True)) for each in found],
            "soak": msgspec.to_builtins(long),
            "machine": msgspec.to_builtins(machine),
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
