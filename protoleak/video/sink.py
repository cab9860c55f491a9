"""What receives a stream's frames and events while it runs: the writers of files, and the status panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from protoleak.arrays import UInt8Array
from protoleak.images.framing import Box
from protoleak.video.events import Event, FailureEvent, TrackEvent, TrackVerdict
from protoleak.video.frames import Frame, SourceInfo
from protoleak.video.statistics import Statistics


@dataclass(frozen=True)
class TrackedFace:
    """A face as a frame shows it, and what is known of its track once the frame has been judged.

    Attributes:
        track: number of the track, from 1.
        box: in the frame.
        verdict: of the track after this frame.
        detected: whether the detector found it here; otherwise it was followed from frames around this one.
    """

    track: int
    box: Box
    verdict: TrackVerdict
    detected: bool = True


class Sink(Protocol):
    """All calls come from one thread, in the order of the source: `start`, then frames and events, then `finish`.

    An exception that a sink raises ends the screening of the source; `finish` is then still called.
    """

    def start(self, info: SourceInfo) -> None: ...

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:
        """Every processed frame, after the events that came of it."""
        ...

    def event(self, event: Event, crop: UInt8Array | None) -> None:
        """Everything that `stream` yields.

        Args:
            crop: uint8 [S, S, 3] RGB, the face as it was attributed, with a FaceEvent; None with any other.
        """
        ...

    def finish(self, statistics: Statistics) -> None:
        """The source has ended, was stopped, or failed. Completes and closes what was written."""
        ...


@runtime_checkable
class StatusSink(Sink, Protocol):
    """A sink that also wants to see the numbers as they change, such as a status panel."""

    def status(self, statistics: Statistics) -> None:
        """A few times a second, also while no frame comes."""
        ...


@runtime_checkable
class CheckpointSink(Sink, Protocol):
    """A sink that brings what it has written up to date every few seconds, so that it is worth something if the program
    is killed."""

    def checkpoint(self, statistics: Statistics, open_tracks: Sequence[TrackEvent]) -> None:
        """
        Args:
            open_tracks: those that have not ended, as they would be reported if they ended now.
        """
        ...


class SourcesSink(Protocol):
    """What receives several sources at once. All calls come from one thread."""

    def sink(self) -> Sink:
        """A sink for one more source, which is about to start."""
        ...

    def source_failed(self, failure: FailureEvent) -> None:
        """A source that could not be opened: there is no sink for it."""
        ...


@runtime_checkable
class AwaitingSink(SourcesSink, Protocol):
    """A `SourcesSink` that also wants to know of addresses that cannot be opened yet."""

    def source_awaited(self, failure: FailureEvent) -> None:
        """An address could not be opened and is tried again: later it gets its sink, or has failed."""
        ...
