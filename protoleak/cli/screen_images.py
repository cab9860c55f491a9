"""`protoleak screen` of images: verdicts for files, folders, globs and lists of paths, whole or face by face."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from msgspec.structs import replace as replace_fields

from protoleak.cli.console import coloured, error_console, output_console, print_error, print_note
from protoleak.cli.exit_status import ExitStatus
from protoleak.cli.screen_options import ScreenOptions, open_screener
from protoleak.cli.short_process import keep_to_the_end
from protoleak.errors import MediaError, ProtoleakError
from protoleak.faces.base import BoxRecord, FaceDetector
from protoleak.faces.settings import FaceFinder
from protoleak.faces.still_images import FacesInImage, FaceVerdict, find_faces
from protoleak.image_records import Identity, Outcome, Record, Settings, records_of, settings_by_face, settings_whole
from protoleak.images.discover import expand_sources
from protoleak.progress import shown_progress
from protoleak.runtime.drift import DriftMonitor
from protoleak.runtime.opening import Opening
from protoleak.runtime.pipeline import FramedFace, ImagePipeline
from protoleak.runtime.verdict import Verdict
from protoleak.screener import Screener

if TYPE_CHECKING:  # most runs write no report and no file: what these import takes longer than a verdict
    from rich.console import Console

    from protoleak.cli.findings import Findings
    from protoleak.cli.image_report import ImageReport
    from protoleak.cli.results_file import ResultsWriter

if TYPE_CHECKING:
    from protoleak.discovery.embeddings import EmbeddingsWriter

ROWS_SHOWN = 50
STANDARD_INPUT = STANDARD_OUTPUT = "-"


@dataclass
class _Tally:
    """What has come of the images so far; only the rows to be shown are kept.

    Attributes:
        images: that have been gone through, whatever came of them.
        failed: images that could not be read or hold no face, and faces that could not be judged.
        without_face: those of the failed that hold no face.
        left_out: inputs that were not looked at, on purpose.
        done_before: images that the results file held already.
    """

    rows: list[Verdict]
    verdicts: Counter[str]
    images: int = 0
    failed: int = 0
    without_face: int = 0
    left_out: int = 0
    done_before: int = 0
    interrupted: bool = False

    def count(self, outcome: Outcome) -> None:
        """An outcome without a verdict."""
        if outcome == "skipped":
            self.left_out += 1
        elif outcome != "verdict":
            self.failed += 1
            self.without_face += outcome == "no_face"


@dataclass(frozen=True)
class _Judge:
    """How images are judged: whole, or face by face.

    Attributes:
        outcomes: of each image in turn: one for the whole, or one per face.
        settings: of the faces, for the record.
    """

    outcomes: Callable[[Sequence[str | MediaError]], Iterator[Sequence[Verdict | ProtoleakError]]]
    settings: Settings
    by_face: bool


class _First:
    """The first image, in which faces are found while the engines are opened.

    Attributes:
        detector: opened by then; None where images are judged whole.
    """

    def __init__(self, options: ScreenOptions, listed: Sequence[str | MediaError]) -> None:
        self._options, self._image = options, listed[0] if listed else None
        self._found: FacesInImage | MediaError | None = None
        self.detector: FaceDetector | None = None

    def find_faces(self, screener: ImagePipeline) -> None:
        """For `open_screener`."""
        import rich.console
        import rich.table  # noqa: F401  # what the verdicts will be shown with

        options = self._options
        finder = _finder(options, screener)
        if finder == "none" or not isinstance(screener, Screener):
            return
        settings = replace(options.faces, faces=finder)
        self.detector = screener.detector(settings)
        if isinstance(self._image, str) and not options.resume:
            try:
                self._found = find_faces(screener, self.detector, self._image, settings)
            except MediaError as error:
                self._found = error

    def in_place(self, images: Sequence[str | MediaError]) -> Iterator[str | FacesInImage | MediaError]:
        """The images, with what was found in the first one where it is among them."""
        for image in images:
            found, self._found = (self._found, None) if image is self._image else (None, self._found)
            yield image if found is None else found


def run(options: ScreenOptions, early: Opening | None = None) -> ExitStatus:
    """Screens all sources and returns the exit status.

    Args:
        early: the bundle, where it is being opened already.

    Raises:
        ProtoleakError: nothing could be started: the bundle, engine, alpha, results file or report is not usable.
    """
    if options.resume and options.out is None:
        raise ProtoleakError("--resume needs the file to continue: give --out FILE.jsonl")
    if options.fdr is not None:
        from protoleak.metrics.false_discovery import check_level

        check_level(options.fdr)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters of them is in our notes and errors, one line each
    for option, value in (("--report", options.report), ("--fdr", options.fdr)):
        if value is None or not options.resume:
            continue
        from protoleak.cli.results_file import JSON_LINES_SUFFIXES

        if not str(options.out).lower().endswith(JSON_LINES_SUFFIXES):
            raise ProtoleakError(
                f"{option} with --resume takes what was judged before from JSON Lines: give --out FILE.jsonl"
            )
    listed = expand_sources(options.sources, _standard_input(options), null=options.null)
    _guard_inputs(options, listed)
    first = _First(options, listed)
    kind = ImagePipeline if options.finder == "none" else Screener
    screener = open_screener(options, kind, early=early, meanwhile=first.find_faces)
    keep_to_the_end(screener)
    errors = error_console()
    judge = _judge(options, screener, errors, first)
    tally = _Tally([], Counter())
    identity = _identity(screener, judge)
    sources = options.sources
    drift = screener.drift_monitor(sources[0] if len(sources) == 1 else f"{len(sources)} sources")
    findings = _findings(options)
    with (
        _writer(options, screener, judge, identity) as writer,
        _report(options, screener, judge, drift, findings) as report,
        _embeddings(options, screener) as embeddings,
    ):
        todo = [item for item in listed if not _done_before(item, writer, report, findings, tally)]
        with shown_progress(errors, stage_lines=False) as progress:
            try:
                for item, outcomes in zip(todo, judge.outcomes(todo), strict=True):
                    records = records_of(item, outcomes, by_face=judge.by_face)
                    for record in records:
                        _record(record, tally, writer, errors)
                        if embeddings is not None:
                            embeddings.add(record)
                    _watch(records, drift, errors)
                    if findings is not None:
                        findings.add([record.to_dict(identity) for record in records])
                    if report is not None:
                        path = item if isinstance(item, str) else None
                        report.add(path, [record.to_dict(identity) for record in records])
                    tally.images += 1
                    if len(todo) > 1:
                        progress("screening", tally.images, len(todo))
            except KeyboardInterrupt:
                tally.interrupted = True
        if report is not None:
            report.finish(tally.interrupted)
    to_standard_output = options.out == STANDARD_OUTPUT
    if tally.rows and not to_standard_output:
        _print_table(tally)
    console = errors if to_standard_output else output_console()
    _print_summary(tally, len(todo), console)
    if findings is not None:
        from protoleak.cli.findings import print_findings

        print_findings(findings, console)
    if tally.interrupted:
        return ExitStatus.INTERRUPTED
    judged = tally.verdicts.total() + tally.done_before
    if not tally.failed and (judged or not tally.left_out):
        return ExitStatus.ALL_WELL
    return ExitStatus.SOME_FAILED if judged else ExitStatus.NOTHING_DONE


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


def _guard_inputs(options: ScreenOptions, listed: Sequence[str | MediaError]) -> None:
    """Raises ProtoleakError where an output is one of the files that are read."""
    if options.out in (None, STANDARD_OUTPUT) and options.report is None:
        return
    from protoleak.cli.output_guard import refuse_inputs

    inputs: list[str] = [item for item in listed if isinstance(item, str)]
    inputs += [str(given) for given in (options.bundle, options.faces.face_model) if given is not None]
    if options.out not in (None, STANDARD_OUTPUT):
        refuse_inputs([Path(str(options.out))], inputs)
    if options.embeddings is not None:
        refuse_inputs([options.embeddings], inputs, "--embeddings")
    if options.report is not None:
        from protoleak.cli.image_report import reports_in

        refuse_inputs(reports_in(options.report), inputs, "--report")


def _done_before(
    item: str | MediaError,
    writer: ResultsWriter | None,
    report: ImageReport | None,
    findings: Findings | None,
    tally: _Tally,
) -> bool:
    """Whether nothing is left to do for an input; it is counted then, and reported."""
    if writer is None or not isinstance(item, str) or (lines := writer.earlier.done(item)) is None:
        return False
    tally.done_before += 1
    for line in lines:
        tally.count(line.outcome)
    if report is not None:
        report.add(item, writer.earlier.done_in_full(item))
    if findings is not None:
        findings.add(writer.earlier.done_in_full(item))
    return True


def _findings(options: ScreenOptions) -> Findings | None:
    if options.fdr is None:
        return None
    from protoleak.cli.findings import Findings

    return Findings(options.fdr)


def _finder(options: ScreenOptions, screener: ImagePipeline) -> FaceFinder:
    return options.finder or (screener.looks_at if isinstance(screener, Screener) else "none")


def _judge(options: ScreenOptions, screener: ImagePipeline, errors: Console, first: _First) -> _Judge:
    batch_size, finder = options.batch_size, _finder(options, screener)
    if finder == "none" or not isinstance(screener, Screener):
        return _Judge(
            lambda images: ([outcome] for outcome in screener.each(images, batch_size)),
            settings_whole(screener.upright),
            False,
        )
    settings = replace(options.faces, faces=finder)
    detector = first.detector or screener.detector(settings)
    print_note(errors, f"faces are found by {detector.description}")
    recorded = settings_by_face(detector.description, screener.upright, settings)
    return _Judge(
        lambda images: screener.each_face(first.in_place(images), settings, detector=detector, batch_size=batch_size),
        recorded,
        True,
    )


def _identity(screener: ImagePipeline, judge: _Judge) -> Identity:
    return Identity(bundle=screener.bundle_record, alpha=screener.alpha, settings=judge.settings)


@contextlib.contextmanager
def _report(
    options: ScreenOptions, screener: ImagePipeline, judge: _Judge, drift: DriftMonitor, findings: Findings | None
) -> Iterator[ImageReport | None]:
    if options.report is None:
        yield None
        return
    from protoleak.cli.image_report import open_image_report
    from protoleak.images.decode import open_image
    from protoleak.video.outputs.run_record import run_record
    from protoleak.video.settings import StreamSettings

    run = replace_fields(run_record(screener, StreamSettings()), settings=judge.settings)
    replaced = options.overwrite or options.resume
    with open_image_report(
        options.report,
        run,
        open_image=lambda path: open_image(path, upright=screener.framing.upright, decode=screener.decode),
        results=options.out,
        replace=replaced,
        drift=drift,
        findings=findings,
    ) as report:
        yield report


@contextlib.contextmanager
def _embeddings(options: ScreenOptions, screener: ImagePipeline) -> Iterator[EmbeddingsWriter | None]:
    if options.embeddings is None:
        yield None
        return
    from protoleak.discovery.embeddings import open_embeddings

    resume, overwrite = options.resume, options.overwrite
    with open_embeddings(options.embeddings, screener, resume=resume, overwrite=overwrite) as embeddings:
        yield embeddings


@contextlib.contextmanager
def _writer(
    options: ScreenOptions, screener: ImagePipeline, judge: _Judge, identity: Identity
) -> Iterator[ResultsWriter | None]:
    if options.out is None:
        yield None
        return
    from protoleak.cli.results_file import open_results

    with open_results(
        options.out,
        identity,
        resume=options.resume,
        overwrite=options.overwrite,
        in_full=options.report is not None or options.fdr is not None,
        example=lambda: _example(screener, judge),
    ) as writer:
        yield writer


def _example(screener: ImagePipeline, judge: _Judge) -> Record:
    """The record of a black image: it has every field that those of this run have."""
    framing = screener.framing
    black = FramedFace(np.zeros((len(framing.looks), framing.image_size, framing.image_size, 3), np.uint8))
    (verdict,) = screener.each([black])
    if not isinstance(verdict, Verdict):
        raise verdict
    if judge.by_face:
        fields = {name: getattr(verdict, name) for name in verdict.__struct_fields__}
        verdict = FaceVerdict(**fields, image=verdict.input, box=BoxRecord(0, 0, 1, 1), face_score=0.0)
    return Record("verdict", None, None, verdict=verdict)


def _watch(records: Sequence[Record], drift: DriftMonitor, errors: Console) -> None:
    """Compares an image with the calibration's, by the first face that holds enough to judge: its others have the same
    camera and compression."""
    for record in records:
        if record.verdict is not None and record.verdict.lacking is None:
            if (event := drift.take(record.verdict)) is not None:
                print_note(errors, f"drift: {event}")
            return


def _record(record: Record, tally: _Tally, writer: ResultsWriter | None, errors: Console) -> None:
    is_new = writer is None or writer.write(record)
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
    tally.verdicts[verdict.label] += 1
    name = verdict.source or "image"
    for note in verdict.notes:
        print_note(errors, f"{name}: {note}")
    for claim in verdict.claims:
        print_note(errors, f"{name}: the file claims: {claim}")
    if verdict.disagreement is not None:
        print_note(errors, f"{name}: {verdict.disagreement}")
    if len(tally.rows) < ROWS_SHOWN:
        tally.rows.append(verdict)


def _print_table(tally: _Tally) -> None:
    from rich.markup import escape
    from rich.table import Table

    faces = any(_place(row) for row in tally.rows)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("image", overflow="fold")
    if faces:
        table.add_column("face")
    table.add_column("verdict")
    table.add_column("nearest", overflow="fold")
    table.add_column("p-value", justify="right")
    guarded = any(row.real_p_value is not None for row in tally.rows)
    if guarded:
        table.add_column("as real", justify="right")
    for row in tally.rows:
        table.add_row(
            escape(row.source or "image"),
            *([_place(row)] if faces else []),
            coloured(row.label),
            escape(row.nearest),
            f"{row.p_value:.3f}",
            *(["–" if row.real_p_value is None else f"{row.real_p_value:.3f}"] if guarded else []),
        )
    console = output_console()
    console.print(table)
    hidden = sum(tally.verdicts.values()) - len(tally.rows)
    if hidden > 0:
        console.print(f"… and {hidden} more; --out FILE.jsonl keeps them all")


def _place(row: Verdict) -> str:
    """Width, height and place of a face, as X11 writes them: 120×150+40+60."""
    if not isinstance(row, FaceVerdict):
        return ""
    return f"{row.box.width:.0f}×{row.box.height:.0f}{row.box.left:+.0f}{row.box.top:+.0f}"


def _print_summary(tally: _Tally, asked: int, console: Console) -> None:
    judged = tally.verdicts.total()
    parts = [f"{tally.verdicts[verdict]} {verdict}" for verdict in ("known", "real", "unknown")]
    text = f"{judged} {'verdict' if judged == 1 else 'verdicts'}: {', '.join(parts)}"
    if tally.failed:
        text += f"; {tally.failed} failed"
        text += f" ({tally.without_face} without a face)" if tally.without_face else ""
    if tally.left_out:
        text += f"; {tally.left_out} skipped"
    if tally.done_before:
        text += f"; {tally.done_before} already in the file"
    if tally.interrupted:
        text += f"; interrupted with {asked - tally.images} to go (--out FILE and --resume continue)"
    console.print(text)
