"""`protoleak screen` of images: verdicts for files, folders, globs and lists of paths, whole or face by face."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from protoleak.bundle.report import accusations
from protoleak.cli.console import error_console, output_console, print_error, print_note
from protoleak.cli.exit_status import ExitStatus
from protoleak.cli.screen_images.first_image import FirstImage
from protoleak.cli.screen_images.judging import Judging, choose_judging
from protoleak.cli.screen_images.outputs import Outputs, open_outputs, refuse_inputs_as_outputs
from protoleak.cli.screen_images.tally import Tally, print_summary, print_table
from protoleak.cli.screen_options import (
    JSON_LINES_SUFFIXES,
    STANDARD_INPUT,
    STANDARD_OUTPUT,
    ScreenOptions,
    open_screener,
)
from protoleak.cli.short_process import keep_to_the_end
from protoleak.errors import MediaError, ProtoleakError
from protoleak.image_records import Record, records_of
from protoleak.images.discover import expand_sources
from protoleak.progress import shown_progress
from protoleak.runtime.drift import DriftMonitor
from protoleak.runtime.opening import Opening
from protoleak.runtime.pipeline import ImagePipeline
from protoleak.screener import Screener

if TYPE_CHECKING:
    from rich.console import Console


def run(options: ScreenOptions, early: Opening | None = None) -> ExitStatus:
    """Screens all sources and returns the exit status.

    Args:
        early: the bundle, where it is being opened already.

    Raises:
        ProtoleakError: nothing could be started: the bundle, engine, alpha, results file or report is not usable.
    """
    _check(options)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters of them is in our notes and errors, one line each
    listed = expand_sources(options.sources, _standard_input(options), null=options.null)
    refuse_inputs_as_outputs(options, listed)
    first = FirstImage(options, listed)
    kind = ImagePipeline if options.finder == "none" else Screener
    screener = open_screener(options, kind, early=early, meanwhile=first.find_faces)
    keep_to_the_end(screener)
    errors = error_console()
    judging = choose_judging(options, screener, errors, first)
    sources = options.sources
    drift = screener.drift_monitor(sources[0] if len(sources) == 1 else f"{len(sources)} sources")
    tally = Tally()
    with open_outputs(options, screener, judging, drift) as outputs:
        todo = [item for item in listed if not _done_before(item, outputs, tally)]
        try:
            _screen(todo, judging, outputs, tally, drift, errors)
        except KeyboardInterrupt:
            tally.interrupted = True
        if outputs.report is not None:
            outputs.report.finish(tally.interrupted)
    to_standard_output = options.out == STANDARD_OUTPUT
    if tally.rows and not to_standard_output:
        print_table(tally)
    console = errors if to_standard_output else output_console()
    if tally.verdicts["known"]:
        print_note(console, accusations(screener.report.accused, screener.bundle.manifest.changes))
    print_summary(tally, len(todo), console)
    if outputs.findings is not None:
        from protoleak.cli.screen_images.findings import print_findings

        print_findings(outputs.findings, console)
    return _exit_status(tally)


def _check(options: ScreenOptions) -> None:
    """Raises ProtoleakError for options that do not go together, before anything is opened."""
    if options.resume and options.out is None:
        raise ProtoleakError("--resume needs the file to continue: give --out FILE.jsonl")
    if options.fdr is not None:
        from protoleak.metrics.false_discovery import check_level

        check_level(options.fdr)
    for option, value in (("--report", options.report), ("--fdr", options.fdr)):
        if value is not None and options.resume and not str(options.out).lower().endswith(JSON_LINES_SUFFIXES):
            raise ProtoleakError(
                f"{option} with --resume takes what was judged before from JSON Lines: give --out FILE.jsonl"
            )


def _standard_input(options: ScreenOptions) -> BinaryIO:
    """
    Raises:
        ProtoleakError: it is asked for, and closed.
    """
    if STANDARD_INPUT not in options.sources:
        return io.BytesIO()
    if sys.stdin is None:
        raise ProtoleakError("-: standard input is closed: name the images, or give their paths there")
    return sys.stdin.buffer


def _done_before(item: str | MediaError, outputs: Outputs, tally: Tally) -> bool:
    """Whether nothing is left to do for an input; it is counted then, and reported."""
    lines = outputs.earlier(item)
    if lines is None:
        return False
    tally.done_before += 1
    for line in lines:
        tally.count(line.outcome)
    return True


def _screen(
    todo: Sequence[str | MediaError],
    judging: Judging,
    outputs: Outputs,
    tally: Tally,
    drift: DriftMonitor,
    errors: Console,
) -> None:
    """Judges one input after another, and hands on what came of it."""
    with shown_progress(errors, stage_lines=False) as progress:
        for item, outcomes in zip(todo, judging.outcomes(todo), strict=True):
            records = records_of(item, outcomes, by_face=judging.by_face)
            for record in records:
                _record(record, tally, outputs, errors)
            _watch(records, drift, errors)
            outputs.add(item, records)
            tally.images += 1
            if len(todo) > 1:
                progress("screening", tally.images, len(todo))


def _record(record: Record, tally: Tally, outputs: Outputs, errors: Console) -> None:
    """Writes one record, counts it, and says what a user should know of it."""
    is_new = outputs.write(record)
    verdict = record.verdict
    if verdict is None:
        tally.count(record.outcome)
        if record.outcome == "skipped":
            print_note(errors, f"skipped: {record.reason}")
        else:
            print_error(errors, record.reason or "failed")
        return
    if not is_new:  # of an image that was stopped between two of its faces
        return
    tally.add(verdict)
    name = verdict.source or "image"
    for note in verdict.notes:
        print_note(errors, f"{name}: {note}")
    for claim in verdict.claims:
        print_note(errors, f"{name}: the file claims: {claim}")
    if verdict.disagreement is not None:
        print_note(errors, f"{name}: {verdict.disagreement}")


def _watch(records: Sequence[Record], drift: DriftMonitor, errors: Console) -> None:
    """Compares an image with the calibration's, by the first face that holds enough to judge: its others have the same
    camera and compression."""
    for record in records:
        if record.verdict is not None and record.verdict.lacking is None:
            if (event := drift.take(record.verdict)) is not None:
                print_note(errors, f"drift: {event}")
            return


def _exit_status(tally: Tally) -> ExitStatus:
    if tally.interrupted:
        return ExitStatus.INTERRUPTED
    judged = tally.verdicts.total() + tally.done_before
    if not tally.failed and (judged or not tally.left_out):
        return ExitStatus.ALL_WELL
    return ExitStatus.SOME_FAILED if judged else ExitStatus.NOTHING_DONE
