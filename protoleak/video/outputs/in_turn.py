"""A sink for one source after another, made of a sink for each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from protoleak.arrays import UInt8Array
from protoleak.video.events import Event, TrackEvent
from protoleak.video.frames import Frame, SourceInfo
from protoleak.video.sink import CheckpointSink, TrackedFace
from protoleak.video.statistics import Statistics


class InTurn(ABC):
    """A `CheckpointSink` that hands each source to a sink of its own, as `stream` wants it of a `SourcesSink`."""

    _current: CheckpointSink | None = None

    @abstractmethod
    def sink(self) -> CheckpointSink:
        """The sink for one more source."""

    def start(self, info: SourceInfo) -> None:
        self._current = self.sink()
        self._current.start(info)

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:
        if self._current is not None:
            self._current.frame(frame, faces)

    def event(self, event: Event, crop: UInt8Array | None) -> None:
        if self._current is not None:
            self._current.event(event, crop)

    def checkpoint(self, statistics: Statistics, open_tracks: Sequence[TrackEvent]) -> None:
        if self._current is not None:
            self._current.checkpoint(statistics, open_tracks)

    def finish(self, statistics: Statistics) -> None:
        current, self._current = self._current, None
        if current is not None:
            current.finish(statistics)
