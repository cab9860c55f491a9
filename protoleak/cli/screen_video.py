"""`protoleak screen` of videos: live sources all at once, files one after another; what is written of them, what is
said meanwhile, and the summary."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from protoleak.arrays import UInt8Array
from protoleak.bundle.report import accusations
from protoleak.cli.console import (
    check_folders,
    coloured,
    error_console,
    output_console,
    print_error,
    print_note,
)
from protoleak.cli.exit_status import ExitStatus
from protoleak.cli.live_panel import StatusPanel
from protoleak.cli.output_guard import refuse_inputs
from protoleak.cli.screen_options import ScreenOptions, VideoOptions, open_screener
from protoleak.cli.token_file import read_token
from protoleak.errors import ProtoleakError
from protoleak.faces.base import FaceDetector
from protoleak.faces.open import open_detector
from protoleak.files import write_whole
from protoleak.progress import Progress, no_progress, shown_progress
from protoleak.runtime.drift import DriftEvent
from protoleak.screener import Screener
from protoleak.strict_json import json_bytes
from protoleak.video.events import Event, FaceEvent, FailureEvent, GapEvent, TrackEvent
from protoleak.video.frames import Frame, FrameSource, SourceInfo
from protoleak.video.outputs.folder import OutputFolder, leftovers_in, open_outputs, outputs_in
from protoleak.video.outputs.run_record import run_record
from protoleak.video.outputs.webhook import Webhook
from protoleak.video.sink import SourcesSink, TrackedFace
from protoleak.video.sources.open import open_source
from protoleak.video.sources.part import PartOfSource
from protoleak.video.statistics import Statistics
from protoleak.video.streams import streams

ROWS_SHOWN = 50
HURRIED_SECONDS = 2.0  # for events that wait to be posted when a run is stopped: all of it has to end within 4.5


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


def run(options: ScreenOptions, video_options: VideoOptions) -> ExitStatus:
    """Screens all sources and returns the exit status.

    Ctrl-C, and a disk that refuses, end everything; a source that cannot be read is said, and the others go on.

    Raises:
        ProtoleakError: nothing could be started: the bundle, engine, alpha, face detector or --out is not usable.
    """
    errors = error_console()
    check_folders(video_options.stats)
    _guard_inputs(options, video_options)
    # Several sources keep the processors busy: what threads spend on waiting for each other is then missing elsewhere.
    screener = open_screener(options, Screener, spinning=len(video_options.sources) == 1)
    detector = open_detector(video_options.settings, screener.bundle)
    webhook = _webhook(video_options, errors)
    broken = False
    with shown_progress(errors, stage_lines=False) as progress:
        tally = VideoTally(errors, no_progress if video_options.dashboard else progress)
        try:
            with (
                _outputs(options, video_options, screener, detector) as outputs,
                _posted(webhook) as posting,
            ):
                sinks: list[SourcesSink] = [*outputs, *_panel(video_options, errors), *posting, tally]
                print_note(errors, f"faces: {detector.description}")
                screening = streams(
                    screener,
                    video_options.sources,
                    video_options.settings,
                    sinks,
                    detector,
                    opening=partial(_open, screener, video_options),
                )
                # Closed here, not whenever Python gets to it: on Ctrl-C the sinks finish before the folder is closed.
                with contextlib.closing(screening):
                    for _ in screening:
                        pass  # the sinks have seen it
                for note in (note for output in outputs for note in output.notes):
                    print_note(errors, note)
        except KeyboardInterrupt:
            tally.interrupted = True
        except ProtoleakError as error:
            if not tally.begun:
                raise
            broken = True
            print_error(errors, str(error))
    if video_options.stats is not None:
        broken = not _write_statistics(video_options.stats, tally, errors) or broken
    if webhook is not None:
        broken = bool(webhook.lost) or broken
        print_note(errors, webhook.summary)
    if tally.tracks["known"]:
        print_note(output_console(), accusations(screener.report.accused, screener.bundle.manifest.changes))
    _print_summary(tally, options.out, output_console())
    if tally.interrupted:
        return ExitStatus.INTERRUPTED
    if not (broken or tally.failed):
        return ExitStatus.ALL_WELL
    judged = any(one.frames_processed for one in tally.statistics)
    return ExitStatus.SOME_FAILED if judged or broken else ExitStatus.NOTHING_DONE


def _guard_inputs(options: ScreenOptions, video_options: VideoOptions) -> None:
    """Raises ProtoleakError where an output is one of the files that are read."""
    settings = video_options.settings
    inputs = [*video_options.sources, *(str(one) for one in (options.bundle, settings.face_model) if one is not None)]
    if options.out is not None:
        folder = Path(options.out)
        refuse_inputs([*outputs_in(folder), *leftovers_in(folder)], inputs)
    if video_options.stats is not None:
        refuse_inputs([video_options.stats], inputs, "--stats")


def _open(screener: Screener, options: VideoOptions, source: str) -> FrameSource:
    """The part of a source that the options ask for. Raises MediaError where it cannot be opened."""
    opened = open_source(source, network=options.network, isolate=screener.isolate)
    if options.start is None and options.end is None:
        return opened
    return PartOfSource(opened, options.start, options.end)


@contextlib.contextmanager
def _outputs(
    options: ScreenOptions, video_options: VideoOptions, screener: Screener, detector: FaceDetector
) -> Iterator[list[OutputFolder]]:
    """What writes the --out folder, where one was given."""
    if options.out is None:
        yield []
        return
    opened = open_outputs(
        Path(options.out),
        run_record(screener, video_options.settings, detector.description),
        annotate=video_options.annotate,
        several=len(video_options.sources) > 1,
        overwrite=options.overwrite,
    )
    with opened:
        yield [opened]


def _webhook(options: VideoOptions, errors: Console) -> Webhook | None:
    """What posts the events, where that was asked for. Raises ProtoleakError where the address or token is no good."""
    if options.live_events is None:
        return None
    file = options.live_events_token
    token = None if file is None else read_token(file, "--live-events-token-file")
    return Webhook(options.live_events, token=token, notify=lambda message: print_note(errors, message))


@contextlib.contextmanager
def _posted(webhook: Webhook | None) -> Iterator[list[Webhook]]:
    """Posts what is left when the run ends; with less patience where somebody waits for the end."""
    if webhook is None:
        yield []
        return
    hurried = True
    try:
        yield [webhook]
        hurried = False
    finally:
        webhook.close(HURRIED_SECONDS if hurried else None)


def _panel(video_options: VideoOptions, console: Console) -> list[StatusPanel]:
    return [StatusPanel(console)] if video_options.dashboard else []


def _write_statistics(path: Path, tally: VideoTally, errors: Console) -> bool:
    """Whether the counts and times of all sources could be written."""
    try:
        write_whole(path, [json_bytes({"sources": tally.statistics})])
    except ProtoleakError as error:
        print_error(errors, f"--stats: {error}")
        return False
    return True


def _print_summary(tally: VideoTally, out: str | None, console: Console) -> None:
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
