"""What has come of the videos so far: counted, and said where somebody should know at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console

from protoleak.arrays import UInt8Array
from protoleak.cli.screening import print_error, print_note
from protoleak.video.events import Event, FaceEvent, FailureEvent, GapEvent, TrackEvent
from protoleak.video.frames import Frame, SourceInfo
from protoleak.video.sink import TrackedFace
from protoleak.video.statistics import Statistics

ROWS_SHOWN = 50


class VideoTally:
    """A sink for all sources of a run.

    Args:
        errors: where failures, gaps and notes are printed as they come.

    Attributes:
        begun: whether any source was opened.
        rows: the first tracks that have ended, to be shown.
        tracks: verdict → tracks that have ended.
        faces: that were attributed.
        failed: sources and faces that gave no answer.
        statistics: one per source that has ended.
        interrupted: whether Ctrl-C was pressed.
    """

    def __init__(self, errors: Console) -> None:
        self._errors = errors
        self.begun = False
        self.rows: list[TrackEvent] = []
        self.tracks: Counter[str] = Counter()
        self.faces = 0
        self.failed = 0
        self.statistics: list[Statistics] = []
        self.interrupted = False

    def start(self, info: SourceInfo) -> None:
        self.begun = True
        for note in info.notes:
            print_note(self._errors, f"{info.name}: {note}")

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:
        """Nothing: the pipeline counts frames."""

    def event(self, event: Event, crop: UInt8Array | None) -> None:  # noqa: ARG002  # the protocol's
        if isinstance(event, FaceEvent):
            self.faces += 1
        elif isinstance(event, TrackEvent):
            self.tracks[event.track_verdict.label] += 1
            if len(self.rows) < ROWS_SHOWN:
                self.rows.append(event)
        elif isinstance(event, GapEvent):
            lasted = "" if event.seconds is None else f" for {event.seconds:.1f} s"
            print_note(self._errors, f"{event.source}, at {event.timestamp:.1f} s: no images{lasted}: {event.reason}")
        else:
            self.fail(event)

    def fail(self, event: FailureEvent) -> None:
        """A source that could not be read, or a face that could not be judged."""
        self.failed += 1
        print_error(self._errors, event.message)

    def finish(self, statistics: Statistics) -> None:
        self.statistics.append(statistics)
