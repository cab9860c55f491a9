"""What has come of the sources of a run, and what the terminal shows of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from protoleak.arrays import UInt8Array
from protoleak.cli.console import coloured, print_error, print_note
from protoleak.progress import Progress
from protoleak.runtime.drift import DriftEvent
from protoleak.video.events import Event, FaceEvent, FailureEvent, GapEvent, TrackEvent
from protoleak.video.frames import Frame, SourceInfo
from protoleak.video.sink import TrackedFace
from protoleak.video.statistics import Statistics

ROWS_SHOWN = 50


class VideoTally:
    """A `SourcesSink` for all sources of a run.

    Args:
        errors: where failures, gaps and notes are printed as they come.
        progress: called with every frame.

    Attributes:
        begun: whether any source was opened.
        rows: the first tracks that have ended, to be shown.
        tracks: verdict → tracks that have ended.
        faces: that were attributed.
        failed: sources and faces without a verdict.
        statistics: one per source that has ended.
        interrupted: whether Ctrl-C was pressed.
    """

    def __init__(self, errors: Console, progress: Progress) -> None:
        self._errors = errors
        self._progress = progress
        self._open: set[str] = set()
        self._frames = 0
        self.begun = False
        self.rows: list[TrackEvent] = []
        self.tracks: Counter[str] = Counter()
        self.faces = 0
        self.failed = 0
        self.statistics: list[Statistics] = []
        self.interrupted = False

    def sink(self) -> SourceTally:
        return SourceTally(self)

    def source_failed(self, failure: FailureEvent) -> None:
        self.fail(failure)

    def source_awaited(self, failure: FailureEvent) -> None:
        """An address that isn't there, while others are screened."""
        print_note(self._errors, f"{failure.message} (tried again while something else is screened)")

    def begin(self, info: SourceInfo) -> None:
        """From a source that starts."""
        self.begun = True
        if not self._open:
            self._frames = 0
        self._open.add(info.name)
        for note in info.notes:
            print_note(self._errors, f"{info.name}: {note}")

    def count_frame(self) -> None:
        """From a source that gives one."""
        self._frames += 1
        name = next(iter(self._open), "") if len(self._open) == 1 else f"{len(self._open)} sources"
        self._progress(f"screening {name}", self._frames, 0, "frames")

    def take(self, event: Event) -> None:
        """From a source about which there is something to say."""
        if isinstance(event, FaceEvent):
            self.faces += 1
        elif isinstance(event, TrackEvent):
            self.tracks[event.track_verdict.label] += 1
            if len(self.rows) < ROWS_SHOWN:
                self.rows.append(event)
        elif isinstance(event, GapEvent):
            lasted = "" if event.seconds is None else f" for {event.seconds:.1f} s"
            print_note(self._errors, f"{event.source}, at {event.timestamp:.1f} s: no images{lasted}: {event.reason}")
        elif isinstance(event, DriftEvent):
            print_note(self._errors, f"{event.source}: drift: {event}")
        else:
            self.fail(event)

    def end(self, statistics: Statistics) -> None:
        """From a source that has ended."""
        self._open.discard(statistics.source)
        self.statistics.append(statistics)

    def fail(self, event: FailureEvent) -> None:
        """A source that could not be read, or a face that could not be judged."""
        self.failed += 1
        print_error(self._errors, event.message)


class SourceTally:
    """The sink that tells a `VideoTally` of one source."""

    def __init__(self, tally: VideoTally) -> None:
        self._tally = tally

    def start(self, info: SourceInfo) -> None:
        self._tally.begin(info)

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:  # noqa: ARG002  # the protocol's
        self._tally.count_frame()

    def event(self, event: Event, crop: UInt8Array | None) -> None:  # noqa: ARG002  # the protocol's
        self._tally.take(event)

    def finish(self, statistics: Statistics) -> None:
        self._tally.end(statistics)


def print_summary(tally: VideoTally, out: str | None, console: Console) -> None:
    """A row per track, and all of it in one line."""
    if tally.rows:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("source", overflow="fold")
        for title in ("track", "seconds", "verdict", "nearest"):
            table.add_column(title)
        for title in ("p-value", "as real", "faces"):
            table.add_column(title, justify="right")
        for row in tally.rows:
            verdict = row.track_verdict
            table.add_row(
                escape(row.source),
                str(row.track),
                f"{row.first_timestamp:.2f}–{row.last_timestamp:.2f}",
                coloured(verdict.label),
                escape(verdict.nearest or "–"),
                "–" if verdict.nearest is None else f"{verdict.p_value:.3f}",
                "–" if verdict.real_p_value is None else f"{verdict.real_p_value:.3f}",
                str(verdict.evidence),
            )
        console.print(table)
    hidden = tally.tracks.total() - len(tally.rows)
    if hidden > 0:
        console.print(f"… and {hidden} more; --out DIR keeps them all")
    kinds = ", ".join(f"{tally.tracks[label]} {label}" for label in ("known", "real", "unknown", "undecided"))
    frames = sum(one.frames_processed for one in tally.statistics)
    dropped = sum(one.frames_dropped for one in tally.statistics)
    seconds = sum(one.seconds for one in tally.statistics)
    text = f"{tally.tracks.total()} {'track' if tally.tracks.total() == 1 else 'tracks'}: {kinds}; "
    text += f"{tally.faces} faces attributed, {frames} frames in {seconds:.1f} s"
    if dropped:
        text += f", {dropped} dropped"
    if tally.failed:
        text += f"; {tally.failed} failed"
    if tally.interrupted:
        text += "; interrupted"
    console.print(text)
    if out is not None and tally.begun:
        console.print(f"written to {out}", markup=False, soft_wrap=True)
