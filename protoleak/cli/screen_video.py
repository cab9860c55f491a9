"""`protoleak screen` of videos: sources one after another, what is written of them, and the summary."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from protoleak.cli.live_panel import StatusPanel, coloured
from protoleak.cli.screen_options import (
    ALL_WELL,
    INTERRUPTED,
    NOTHING_DONE,
    SOME_FAILED,
    ScreenOptions,
    VideoOptions,
)
from protoleak.cli.screening import (
    error_console,
    open_screener,
    output_console,
    print_error,
    print_note,
)
from protoleak.cli.video_tally import VideoTally
from protoleak.errors import MediaError, MissingExtra, ProtoleakError
from protoleak.faces.base import FaceDetector
from protoleak.faces.open import open_detector
from protoleak.images.decode import printable
from protoleak.screener import Screener
from protoleak.video.events import FailureEvent
from protoleak.video.outputs.folder import OutputFolder, open_outputs
from protoleak.video.outputs.run_record import run_record
from protoleak.video.sink import Sink
from protoleak.video.sources.open import open_source
from protoleak.video.sources.redaction import without_secrets
from protoleak.video.stream import stream


def run(options: ScreenOptions, moving: VideoOptions) -> int:
    """Screens all sources one after another and returns the exit status.

    Ctrl-C, and a disk that refuses, end everything; a source that cannot be read is said and the next one begun.

    Raises:
        ProtoleakError: nothing could be started: the bundle, engine, alpha, face detector or --out is not usable.
    """
    errors = error_console()
    if moving.stats is not None and not moving.stats.absolute().parent.is_dir():
        raise ProtoleakError(f"--stats {moving.stats}: there is no folder {moving.stats.parent}: make it first")
    screener = open_screener(options, errors)
    detector = open_detector(moving.settings, screener.bundle)
    tally = VideoTally(errors)
    broken = False
    try:
        with _outputs(options, moving, screener, detector) as outputs:
            panel = _panel(moving, errors)
            print_note(errors, f"faces: {detector.description}")
            for source in moving.sources:
                _screen(source, screener, detector, moving, outputs, [*panel, tally])
            for note in (note for output in outputs for note in output.notes):
                print_note(errors, note)
    except KeyboardInterrupt:
        tally.interrupted = True
    except ProtoleakError as error:
        if not tally.begun:
            raise
        broken = True
        print_error(errors, str(error))
    if moving.stats is not None:
        broken = not _write_statistics(moving.stats, tally, errors) or broken
    _print_summary(tally, options.out, output_console())
    if tally.interrupted:
        return INTERRUPTED
    if not (broken or tally.failed):
        return ALL_WELL
    return SOME_FAILED if any(one.frames_processed for one in tally.statistics) else NOTHING_DONE


def _screen(
    source: str,
    screener: Screener,
    detector: FaceDetector,
    moving: VideoOptions,
    outputs: Sequence[OutputFolder],
    sinks: Sequence[Sink],
) -> None:
    """One source from its beginning to its end; one that cannot be opened is recorded as failed."""
    try:
        opened = open_source(source)
    except (MediaError, MissingExtra) as error:
        failure = FailureEvent(source=printable(without_secrets(source)), message=str(error))
        for output in outputs:
            output.source_failed(failure)
        for sink in sinks:
            if isinstance(sink, VideoTally):
                sink.fail(failure)
        return
    # Closed here and not whenever Python gets to it: on Ctrl-C the sinks are to finish before the folder is closed.
    with contextlib.closing(stream(screener, opened, moving.settings, [*outputs, *sinks], detector)) as events:
        for _ in events:
            pass  # the sinks have seen it


@contextlib.contextmanager
def _outputs(
    options: ScreenOptions, moving: VideoOptions, screener: Screener, detector: FaceDetector
) -> Iterator[list[OutputFolder]]:
    """What writes the --out folder, where one was given."""
    if options.out is None:
        yield []
        return
    opened = open_outputs(
        Path(options.out),
        run_record(screener, moving.settings, detector.description),
        annotate=moving.annotate,
        several=len(moving.sources) > 1,
        overwrite=options.overwrite,
    )
    with opened:
        yield [opened]


def _panel(moving: VideoOptions, console: Console) -> list[Sink]:
    return [StatusPanel(console)] if moving.live else []


def _write_statistics(path: Path, tally: VideoTally, errors: Console) -> bool:
    """Whether the counts and times of all sources could be written."""
    data = msgspec.json.format(msgspec.json.encode({"sources": tally.statistics}), indent=2) + b"\n"
    try:
        path.write_bytes(data)
    except OSError as error:
        print_error(errors, f"--stats {path} cannot be written: {(error.strerror or str(error)).lower()}")
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
            answer = row.track_verdict
            table.add_row(
                escape(row.source),
                str(row.track),
                f"{row.first_timestamp:.2f}–{row.last_timestamp:.2f}",
                coloured(answer.label),
                escape(answer.nearest or "–"),
                f"{answer.p_value:.3f}",
                "–" if answer.real_p_value is None else f"{answer.real_p_value:.3f}",
                str(answer.evidence),
            )
        console.print(table)
    hidden = tally.tracks.total() - len(tally.rows)
    if hidden > 0:
        console.print(f"… and {hidden} more; --out DIR keeps them all")
    kinds = ", ".join(f"{tally.tracks[verdict]} {verdict}" for verdict in ("known", "real", "unknown", "undecided"))
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
