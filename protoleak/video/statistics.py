"""Counts and times of one stream: what the threads keep of them, and the snapshot that others see."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sized

import msgspec
import numpy as np

from protoleak.environment.memory import resident_mib
from protoleak.video.frames import SourceInfo
from protoleak.video.messages import TrackedFrame

LATENCIES_KEPT = 1000  # enough for a p99; a camera that runs for a month must not fill the memory


class Percentiles(msgspec.Struct, frozen=True):
    """Of seconds; `n` of them."""

    p50: float
    p95: float
    p99: float
    n: int


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """What has happened to one source up to now.

    Attributes:
        source: as given.
        live: see `SourceInfo.live`.
        frames_in: decoded.
        frames_processed: in which faces were followed.
        frames_dropped: given up because a newer one had come; 0 for files.
        faces: in all these frames together.
        attributed: faces that went through the screener.
        tracks: begun so far.
        gaps: stretches without images.
        failures: faces or sources that could not be judged or read.
        seconds: wall time since the start.
        media_seconds: timestamp of the newest processed frame.
        fps_in, fps_processed: frames per second of wall time.
        queues: name → frames, faces or messages in it.
        latency: capture to verdict, of the newest 1,000 attributed faces; None before the first.
        cpu_seconds: stage ("decoding", "tracking", "attribution", "aggregation") → processor time of its own thread;
            threads of codecs and engines are not in it. The aggregation runs in the caller's thread, so what the
            caller's loop does is in it.
        resident_mib: memory of the process.
        interrupted: whether somebody stopped it.
        faces_given_up: sampled faces of a live source that were queued too long for busy engines; 0 for files.
        frames_detected: those of the processed frames that the detector looked at.
        drift_faces: tracks whose first face was compared with the calibration's; see `runtime.drift`.
        drift_evidence: to 1, the most that there ever was that they are unlike those; at least 1.
    """

    source: str
    live: bool
    frames_in: int
    frames_processed: int
    frames_dropped: int
    faces: int
    attributed: int
    tracks: int
    gaps: int
    failures: int
    seconds: float
    media_seconds: float
    fps_in: float
    fps_processed: float
    queues: dict[str, int]
    latency: Percentiles | None
    cpu_seconds: dict[str, float]
    resident_mib: float
    interrupted: bool
    faces_given_up: int = 0
    frames_detected: int = 0
    drift_faces: int = 0
    drift_evidence: float = 1.0


class Counters:
    """What the stages of one stream count.

    Each count is written by one thread only, and read by the one that the caller iterates in.
    """

    def __init__(self, info: SourceInfo, queues: Mapping[str, Sized]) -> None:
        self._info, self._queues = info, queues
        self._started = time.monotonic()
        self._latencies: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._cpu: dict[str, float] = {}
        self._cpu_at_start = time.thread_time()  # of the caller's thread, which has done other things before
        self.frames_in = self.frames_processed = self.frames_detected = self.frames_dropped = 0
        self.faces = self.attributed = self.tracks = self.gaps = self.failures = self.faces_given_up = 0
        self.media_seconds = 0.0
        self.drift_faces, self.drift_evidence = 0, 1.0
        self.interrupted = False

    def spent(self, stage: str) -> None:
        """Notes the processor time of the calling thread, which does nothing but this stage."""
        self._cpu[stage] = time.thread_time()

    def spent_by_caller(self, stage: str) -> None:
        """Notes that of the caller's thread since the start; what its own loop does is in it."""
        self._cpu[stage] = time.thread_time() - self._cpu_at_start

    def tracked(self, message: TrackedFrame, tracks: int) -> None:
        """One more frame went through the tracking; `tracks` have begun so far."""
        self.frames_processed += 1
        self.frames_detected += message.detected
        self.faces += len(message.faces)
        self.tracks = tracks
        self.media_seconds = message.frame.timestamp

    def attributed_after(self, latency: float) -> None:
        """One more face has its verdict, so many seconds after its frame was captured."""
        self.attributed += 1
        self._latencies.append(latency)

    def statistics(self) -> Statistics:
        """Everything up to now."""
        seconds = time.monotonic() - self._started
        return Statistics(
            source=self._info.name,
            live=self._info.live,
            frames_in=self.frames_in,
            frames_processed=self.frames_processed,
            frames_dropped=self.frames_dropped,
            faces=self.faces,
            attributed=self.attributed,
            tracks=self.tracks,
            gaps=self.gaps,
            failures=self.failures,
            seconds=seconds,
            media_seconds=self.media_seconds,
            fps_in=self.frames_in / max(seconds, 1e-9),
            fps_processed=self.frames_processed / max(seconds, 1e-9),
            queues={name: len(queue) for name, queue in self._queues.items()},
            latency=self._percentiles(),
            cpu_seconds=dict(self._cpu),
            resident_mib=resident_mib(),
            interrupted=self.interrupted,
            faces_given_up=self.faces_given_up,
            frames_detected=self.frames_detected,
            drift_faces=self.drift_faces,
            drift_evidence=self.drift_evidence,
        )

    def _percentiles(self) -> Percentiles | None:
        if not self._latencies:
            return None
        p50, p95, p99 = (float(value) for value in np.percentile(list(self._latencies), (50, 95, 99)))
        return Percentiles(p50, p95, p99, len(self._latencies))
