"""The last stage: merges the verdicts of each track, makes the events, and calls the sinks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from protoleak.arrays import UInt8Array
from protoleak.faces.base import BoxRecord
from protoleak.runtime.drift import DriftEvent
from protoleak.runtime.verdict import Verdict
from protoleak.video.events import Event, FaceEvent, FailureEvent, GapEvent, TrackEvent
from protoleak.video.frames import Frame, Gap, SourceInfo
from protoleak.video.messages import AttributedFace, RenderedFrame, SourceFailed, TracksEnded
from protoleak.video.sink import CheckpointSink, Sink, StatusSink, TrackedFace
from protoleak.video.statistics import Counters
from protoleak.video.tracking.evidence import TrackEvidence

if TYPE_CHECKING:
    from protoleak.runtime.pipeline import ImagePipeline

STATUS_SECONDS = 0.2  # between two displays of the numbers: more often nobody can read them
FIRST_CHECKPOINT, CHECKPOINT_SECONDS = 1.0, 5.0  # after the start, and between two
CHECKPOINT_SHARE = 0.02  # of the time that checkpoints may take: a large report on a slow disk is written less often


@dataclass
class _Record:
    """What is known of a track; the frames in which it was first and last seen without their images."""

    evidence: TrackEvidence
    first_frame: int
    first_timestamp: float
    last_frame: int
    last_timestamp: float
    frames: int = 0
    detected: int = 0  # of these frames
    compared: bool = False  # whether one of its faces was compared with the calibration's

    def see(self, frame: Frame, *, detected: bool) -> None:
        if self.frames == 0 or frame.index > self.last_frame:
            self.frames += 1
            self.detected += detected
            self.last_frame, self.last_timestamp = frame.index, frame.timestamp


class TrackAggregator:
    """One source's events. Used by the thread that the caller iterates in.

    Args:
        minimum_evidence: see `StreamSettings`.
    """

    def __init__(
        self,
        pipeline: ImagePipeline,
        minimum_evidence: int,
        info: SourceInfo,
        counters: Counters,
        sinks: Sequence[Sink],
    ) -> None:
        self._new_evidence = partial(
            TrackEvidence,
            pipeline.alpha,
            minimum_evidence,
            pipeline.bundle.manifest.real_class,
            pipeline.track_accusation_level,
        )
        self._info, self._counters = info, counters
        self._drift = pipeline.drift_monitor(info.name)
        self._sinks = list(sinks)
        self._started: list[Sink] = []
        self._records: dict[int, _Record] = {}
        self._status_at = 0.0
        self._checkpoint_due = time.monotonic() + FIRST_CHECKPOINT

    def start(self) -> None:
        """Announces the source to the sinks."""
        for sink in self._sinks:
            sink.start(self._info)
            self._started.append(sink)

    def take(self, message: AttributedFace | RenderedFrame | TracksEnded | Gap | SourceFailed) -> Iterator[Event]:
        """The events that come of a message; the sinks have seen each when it is yielded."""
        if isinstance(message, RenderedFrame):
            self._frame(message)
        elif isinstance(message, AttributedFace):
            face = self._face(message)
            yield self._report(face, message.crop)
            if isinstance(face, FaceEvent) and (drift := self._compared(face)) is not None:
                yield self._report(drift)
        elif isinstance(message, TracksEnded):
            yield from self.end_tracks(message.tracks)
        elif isinstance(message, Gap):
            self._counters.gaps += 1
            gap = GapEvent(
                source=self._info.name, timestamp=message.timestamp, seconds=message.seconds, reason=message.reason
            )
            yield self._report(gap)
        else:
            yield self._report(self._failure(message.message, message.timestamp))

    def end_tracks(self, tracks: Iterable[int] | None = None) -> Iterator[TrackEvent]:
        """The last event of these tracks, or of all that are open."""
        for track in list(self._records if tracks is None else tracks):
            event = self._track_event(track, self._records.pop(track))
            self._report(event)
            yield event

    def status(self) -> None:
        """Shows the numbers to the sinks that want them, and has the others write what they know, if it is time to."""
        now = time.monotonic()
        if now - self._status_at < STATUS_SECONDS:
            return
        self._status_at = now
        if status_sinks := [sink for sink in self._sinks if isinstance(sink, StatusSink)]:
            statistics = self._counters.statistics()
            for sink in status_sinks:
                sink.status(statistics)
        if now >= self._checkpoint_due:
            self._checkpoint()
            spent = time.monotonic() - now
            self._checkpoint_due = now + max(CHECKPOINT_SECONDS, spent / CHECKPOINT_SHARE)

    def finish(self) -> None:
        """Finishes every sink that was started, also when another one raises."""
        statistics = self._counters.statistics()
        with ExitStack() as stack:
            for sink in reversed(self._started):
                stack.callback(sink.finish, statistics)
            self._started = []

    def _checkpoint(self) -> None:
        if sinks := [sink for sink in self._sinks if isinstance(sink, CheckpointSink)]:
            statistics = self._counters.statistics()
            open_tracks = [self._track_event(track, record) for track, record in self._records.items()]
            for sink in sinks:
                sink.checkpoint(statistics, open_tracks)

    def _track_event(self, track: int, record: _Record) -> TrackEvent:
        return TrackEvent(
            source=self._info.name,
            track=track,
            first_frame=record.first_frame,
            last_frame=record.last_frame,
            first_timestamp=record.first_timestamp,
            last_timestamp=record.last_timestamp,
            frames=record.frames,
            frames_detected=record.detected,
            track_verdict=record.evidence.verdict(),
        )

    def _frame(self, rendered: RenderedFrame) -> None:
        for track, _ in rendered.faces:
            self._record(track, rendered.frame).see(rendered.frame, detected=rendered.detected)
        if not self._sinks:
            return
        faces = [
            TrackedFace(track, box, self._records[track].evidence.verdict(), rendered.detected)
            for track, box in rendered.faces
        ]
        for sink in self._sinks:
            sink.frame(rendered.frame, faces)

    def _face(self, attributed: AttributedFace) -> FaceEvent | FailureEvent:
        sampled, outcome = attributed.sampled, attributed.outcome
        if not isinstance(outcome, Verdict):
            return self._failure(str(outcome), sampled.frame.timestamp)
        record = self._record(sampled.track, sampled.frame)
        record.see(sampled.frame, detected=True)
        record.evidence.add(outcome)
        latency = time.monotonic() - sampled.frame.captured
        self._counters.attributed_after(latency)
        return FaceEvent(
            source=self._info.name,
            frame=sampled.frame.index,
            timestamp=sampled.frame.timestamp,
            track=sampled.track,
            box=BoxRecord.of(sampled.face.box),
            face_score=sampled.face.score,
            sharpness=sampled.sharpness,
            verdict=outcome,
            track_verdict=record.evidence.verdict(),
            latency=latency,
        )

    def _compared(self, face: FaceEvent) -> DriftEvent | None:
        """The first face of a track that holds enough to judge, with the calibration's: what comes of it."""
        record = self._records[face.track]
        if record.compared or face.verdict.lacking is not None:
            return None
        record.compared = True
        event = self._drift.take(face.verdict, face.timestamp)
        self._counters.drift_faces = self._drift.faces
        self._counters.drift_evidence = self._drift.largest_evidence
        return event

    def _failure(self, message: str, timestamp: float | None) -> FailureEvent:
        self._counters.failures += 1
        return FailureEvent(source=self._info.name, message=message, timestamp=timestamp)

    def _record(self, track: int, frame: Frame) -> _Record:
        if track not in self._records:
            evidence, index, timestamp = self._new_evidence(), frame.index, frame.timestamp
            self._records[track] = _Record(evidence, index, timestamp, index, timestamp)
        return self._records[track]

    def _report(self, event: Event, crop: UInt8Array | None = None) -> Event:
        for sink in self._sinks:
            sink.event(event, crop if isinstance(event, FaceEvent) else None)
        return event
