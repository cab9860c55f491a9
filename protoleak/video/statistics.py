"""Counts and times of one stream."""

from __future__ import annotations

import msgspec


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
        frames_processed: looked at by the detector and the tracker.
        frames_dropped: given up because a newer one had come; 0 for files.
        faces: detections that were kept.
        attributed: faces that went through the screener.
        tracks: begun so far.
        gaps: stretches without images.
        failures: faces or sources that could not be judged or read.
        seconds: wall time since the start.
        media_seconds: timestamp of the newest processed frame.
        fps_in, fps_processed: frames per second of wall time.
        queues: name → frames or faces waiting.
        latency: capture to verdict, of the newest 1,000 attributed faces; None before the first.
        cpu_seconds: stage → processor time of its own thread; threads of codecs and engines are not in it, and in
            "tell", which runs in the caller's thread, what the caller's loop does is.
        resident_mib: memory of the process.
        interrupted: whether somebody stopped it.
        faces_given_up: due faces of a live source that waited too long for a busy engine; 0 for files.
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
