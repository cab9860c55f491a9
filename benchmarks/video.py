"""How fast a clip is screened, where the processor time goes, and whether a long run keeps its memory.

    python benchmarks/video.py CLIP [CLIP ...] --json benchmarks/results/video.json
    python benchmarks/video.py CLIP --soak 20000

Every clip, and one that is made of the images of faces in --images, is measured at 640×360 and 1280×720, scaled
where it has another size. It is read as a file, of which no frame is left out: latency is then the time a frame spends
in the queues and stages, not that of a camera.

Three ways take turns: every frame through the detector in OpenCV, as it once was (docs/decisions/0032); every frame
through the detector; and as it is by default. Each is compared with the first: its tracks by IDF1, its verdicts by
number and by the SHA-256 of what was judged.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder is there instead

import protoleak
from benchmarks.videos.detection import NOW, detection_ways
from benchmarks.videos.soak import Watch, soak
from benchmarks.videos.tracks import identity_f1, write_made_clip
from protoleak.environment.machine import describe_machine
from protoleak.faces.base import FaceDetector
from protoleak.faces.open import open_detector
from protoleak.files import write_whole
from protoleak.images.framing import Box
from protoleak.screener import Screener
from protoleak.strict_json import json_bytes
from protoleak.video.events import FaceEvent, TrackEvent
from protoleak.video.frames import Frame
from protoleak.video.settings import StreamSettings
from protoleak.video.sink import TrackedFace
from protoleak.video.sources.file import FileSource
from protoleak.video.statistics import Percentiles
from protoleak.video.stream import stream

TARGET_FPS = {(640, 360): 150.0, (1280, 720): 100.0}
VERDICTS_PER_SECOND = 1.0
SAME_TRACKS = 0.98
EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "images"


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """One clip at one size.

    Attributes:
        frames_detected: those that went through the face detector.
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
    frames_detected: int
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

    @property
    def cpu(self) -> float:
        """Seconds of processor time in all."""
        return sum(self.cpu_seconds.values()) + self.cpu_seconds_elsewhere


@dataclass
class Outcome(Watch):
    """What one way made of a clip: a sink that keeps the boxes of every frame, the judged faces and the tracks."""

    boxes: list[list[tuple[int, Box]]] = field(default_factory=list)
    judged: set[str] = field(default_factory=set)
    labels: list[str] = field(default_factory=list)

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:
        super().frame(frame, faces)
        self.boxes.append([(face.track, face.box) for face in faces])


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One way against the first, over runs that took turns.

    Attributes:
        speed: the fastest run.
        fps_ratio, cpu_ratio: medians over the turns, of frames per second and of processor time.
        identity_f1: of the tracks.
        verdicts: how many each gave: (the first, this one).
        same_input: verdicts of both whose judged pixels are the same.
        track_labels: how often tracks got each label: (in the first, in this one).
    """

    way: str
    speed: Speed
    fps_ratio: float
    cpu_ratio: float
    identity_f1: float
    verdicts: tuple[int, int]
    same_input: int
    track_labels: tuple[dict[str, int], dict[str, int]]


def scaled_clip(path: Path, size: tuple[int, int], folder: Path) -> Path:
    """The clip with frames of `size` (width, height): itself where it has them, else a new H.264 file in `folder`."""
    with av.open(str(path)) as source:
        video = source.streams.video[0]
        if (video.width, video.height) == size:
            return path
        scaled = folder / f"{path.stem} {size[0]}x{size[1]}.mp4"
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


def measure(
    screener: Screener, detector: FaceDetector, settings: StreamSettings, path: Path, outcome: Outcome | None = None
) -> Speed:
    """Screens a file once, from its first frame to its last verdict.

    Args:
        outcome: gets what came of it.
    """
    outcome = outcome or Outcome()
    source = FileSource(str(path))
    info, before = source.info, time.process_time()
    events = list(stream(screener, source, settings, [outcome], detector))
    spent, counts = time.process_time() - before, outcome.statistics
    assert counts is not None  # the stream has finished its sinks
    outcome.judged = {event.verdict.input.sha256 for event in events if isinstance(event, FaceEvent)}
    tracks = [event for event in events if isinstance(event, TrackEvent)]
    outcome.labels = [track.track_verdict.generator or track.track_verdict.label for track in tracks]
    return Speed(
        width=info.width or 0,
        height=info.height or 0,
        frames=counts.frames_processed,
        frames_detected=counts.frames_detected,
        seconds=counts.seconds,
        fps=counts.fps_processed,
        cpu_seconds=counts.cpu_seconds,
        cpu_seconds_elsewhere=spent - sum(counts.cpu_seconds.values()),
        latency=counts.latency,
        verdicts=sum(isinstance(event, FaceEvent) for event in events),
        face_seconds=sum(track.frames for track in tracks) / float(info.rate or 25),
    )


def compare(
    screener: Screener, ways: dict[str, tuple[FaceDetector, StreamSettings]], path: Path, rounds: int
) -> list[Compared]:
    """Each way against the first, in turns: the first, the second, …, the first, …"""
    speeds: dict[str, list[Speed]] = {way: [] for way in ways}
    outcomes: dict[str, Outcome] = {}
    for _ in range(rounds):
        for way, (detector, settings) in ways.items():
            outcomes[way] = Outcome()
            speeds[way].append(measure(screener, detector, settings, path, outcomes[way]))
    first = next(iter(ways))
    return [
        Compared(
            way=way,
            speed=max(speeds[way], key=lambda speed: speed.fps),
            fps_ratio=statistics.median(b.fps / a.fps for a, b in zip(speeds[first], speeds[way], strict=True)),
            cpu_ratio=statistics.median(b.cpu / a.cpu for a, b in zip(speeds[first], speeds[way], strict=True)),
            identity_f1=identity_f1(outcomes[first].boxes, outcomes[way].boxes),
            verdicts=(speeds[first][0].verdicts, speeds[way][0].verdicts),
            same_input=len(outcomes[first].judged & outcomes[way].judged),
            track_labels=(Counter(outcomes[first].labels), Counter(outcomes[way].labels)),
        )
        for way in ways
    ]


def targets(compared: Sequence[Compared]) -> list[tuple[str, float, str, bool]]:
    """Each target: what, the number, the limit in words, whether it is met."""
    found = []
    for one in compared:
        speed = one.speed
        size, limit = f"{speed.width}×{speed.height}", TARGET_FPS.get((speed.width, speed.height))
        if limit is not None:
            found.append((f"fps processed, {size}", speed.fps, f"≥ {limit:g}", speed.fps >= limit))
        rate = speed.verdicts_per_face_second
        what = f"verdicts per face and second, {size}"
        found.append((what, rate, f"≥ {VERDICTS_PER_SECOND:g}", rate >= VERDICTS_PER_SECOND))
        same = one.identity_f1
        found.append((f"IDF1 of the tracks, {size}", same, f"≥ {SAME_TRACKS:g}", same >= SAME_TRACKS))
    return found


def show(one: Compared) -> None:
    speed = one.speed
    spent = 1000 * speed.cpu / max(1, speed.frames)
    print(
        f"  {one.way}: {speed.fps:.1f} fps ({one.fps_ratio:.2f} ×), {spent:.2f} ms of processor time a frame "
        f"({one.cpu_ratio:.2f} ×), {speed.frames_detected} of {speed.frames} frames detected"
    )
    stages = {**speed.cpu_seconds, "codec, OpenCV, engine": speed.cpu_seconds_elsewhere}
    parts = [f"{name} {1000 * seconds / max(1, speed.frames):.2f}" for name, seconds in stages.items()]
    print(f"    ms a frame: {', '.join(parts)}")
    if latency := speed.latency:
        p50, p95, p99 = (1000 * value for value in (latency.p50, latency.p95, latency.p99))
        print(f"    latency p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f} ms")
    before, now = one.verdicts
    print(
        f"    {before} verdicts → {now}, {one.same_input} of the same pixels; {speed.face_seconds:.1f} s of faces; "
        f"IDF1 {one.identity_f1:.4f}; tracks {dict(one.track_labels[0])} → {dict(one.track_labels[1])}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP")
    parser.add_argument("--face-model", type=Path, help="a YuNet ONNX file; left out, the bundle's own")
    parser.add_argument("--bundle", help="left out, the one that comes with protoleak")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", type=int, help="of the engine")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way")
    parser.add_argument("--images", type=Path, default=EXAMPLES, help="folder of images of faces, for the made clip")
    parser.add_argument("--soak", type=int, metavar="FRAMES", help="repeat the clip for so many frames afterwards")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args()
    for name, least in (("soak", options.soak), ("rounds", options.rounds)):
        if least is not None and least < 1:
            parser.error(f"--{name} {least}: give 1 or more")

    machine = describe_machine()
    priority = os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else None
    screener = protoleak.load(options.bundle, engine=options.engine, threads=options.threads)
    settings = StreamSettings(faces="yunet", face_model=options.face_model)
    detector = open_detector(settings, screener.bundle)
    ways = detection_ways(screener, settings, detector)
    print(f"{screener.bundle.manifest.name}, {screener.variant}, {screener.engine.name}; {machine.processor}")
    print(f"  load average {machine.load_average} (a busy machine makes these numbers worse)")
    measured: dict[str, list[Compared]] = {}
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.mp4"
        write_made_clip(made, sorted(options.images.glob("*.jpg")), (1280, 720))
        for clip in [*options.clips, made]:
            for width, height in TARGET_FPS:
                path = scaled_clip(clip, (width, height), Path(folder))
                if not measured:
                    measure(screener, detector, settings, path)  # warms up
                name = f"{clip.name}, {width}×{height}"
                print(name)
                measured[name] = compare(screener, ways, path, options.rounds)
                for one in measured[name]:
                    show(one)
    found = [
        (f"{name}: {what}", *rest)
        for name, compared in measured.items()
        for what, *rest in targets([one for one in compared if one.way == NOW])
    ]
    for what, number, limit, met in found:
        print(f"  {'met   ' if met else 'MISSED'} {what}: {number:.2f} ({limit})")
    long = soak(screener, detector, settings, options.clips[0], options.soak) if options.soak else None
    if long is not None:
        grown = "not known" if long.slope is None else f"{long.slope:+.3f} MiB per 1,000 frames"
        print(f"soak: {long.frames} frames in {long.seconds:.0f} s; memory {grown}")
        print("  before and after: threads {} and {}, file handles {} and {}".format(*long.threads, *long.handles))
    if options.json:
        result = {
            "what": "screening of clips read as files, every frame of them; ways that took turns",
            "bundle": {"name": screener.bundle.manifest.name, "sha256": screener.bundle.sha256},
            "variant": screener.variant,
            "engine": screener.engine.name,
            "settings": screener.engine.settings,
            "rounds": options.rounds,
            "real_time_priority": priority is not None and priority != os.SCHED_OTHER,
            "clips": measured,
            "targets": [dict(zip(("what", "number", "limit", "met"), each, strict=True)) for each in found],
            "soak": long,
            "machine": machine,
        }
        write_whole(options.json, [json_bytes(result)])


if __name__ == "__main__":
    main()
