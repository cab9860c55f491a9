"""`protoleak screen` of images: verdicts for files, folders, globs and lists of paths, whole or face by face."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from protoleak.cli.console import error_console, output_console, print_error, print_note
from protoleak.cli.exit_status import ExitStatus
from protoleak.cli.live_panel import coloured
from protoleak.cli.results_file import STANDARD_OUTPUT, Identity, ResultsWriter, open_results
from protoleak.cli.screen_options import ScreenOptions, open_screener
from protoleak.errors import MediaError, ProtoleakError
from protoleak.images.sources import printable
from protoleak.images.discover import expand_sources
from protoleak.progress import shown_progress
from protoleak.runtime.pipeline import ImagePipeline
from protoleak.runtime.verdict import Verdict
from protoleak.screener import Screener

ROWS_SHOWN = 50


@dataclass
class _Tally:
    """What has come of the images so far; only the rows to be shown are kept.

    Attributes:
        images: that have been gone through, whatever came of them.
        failed: images that could not be read or hold no face, and faces that could not be judged.
    """

    rows: list[Verdict]
    verdicts: Counter[str]
    images: int = 0
    failed: int = 0
    interrupted: bool = False


def run(options: ScreenOptions) -> ExitStatus:
    """Screens all sources and returns the exit status.

    Raises:
        ProtoleakError: nothing could be started: the bundle, engine, alpha or results file is not usable.
    """
    if options.resume and options.out is None:
        raise ProtoleakError("--resume needs the file to continue: give --out FILE.jsonl")
    warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters of them is in our notes and errors, one line each
    errors = error_console()
    screener = open_screener(options, errors, ImagePipeline if options.finder == "none" else Screener)
    judge = _judge(options, screener, errors)
    listed = expand_sources(options.sources, sys.stdin.buffer if "-" in options.sources else io.BytesIO())
    tally = _Tally([], Counter())
    with _writer(options, screener) as writer:
        done = frozenset[str]() if writer is None else writer.done
        todo = [item for item in listed if not (isinstance(item, str) and printable(item) in done)]
        skipped = len(listed) - len(todo)
        with shown_progress(errors, stage_lines=False) as progress:
            try:
                for outcomes in judge(todo):
                    for outcome in outcomes:
                        _record(outcome, tally, writer, errors)
                    tally.images += 1
                    if len(todo) > 1:
                        progress("screening", tally.images, len(todo))
            except KeyboardInterrupt:
                tally.interrupted = True
    to_standard_output = options.out == STANDARD_OUTPUT
    if tally.rows and not to_standard_output:
        _print_table(tally)
    _print_summary(tally, skipped, len(todo), errors if to_standard_output else output_console())
    if tally.interrupted:
        return ExitStatus.INTERRUPTED
    judged = sum(tally.verdicts.values()) + skipped
    if not tally.failed:
        return ExitStatus.ALL_WELL
    return ExitStatus.SOME_FAILED if judged else ExitStatus.NOTHING_DONE


def _judge(
    options: ScreenOptions, screener: ImagePipeline, errors: Console
) -> Callable[[Sequence[str | MediaError]], Iterator[Sequence[Verdict | ProtoleakError]]]:
    """What gives the outcomes of each image in turn: one for the whole, or one per face."""
    batch_size = options.batch_size
    finder = options.finder or (screener.looks_at if isinstance(screener, Screener) else "none")
    if finder == "none" or not isinstance(screener, Screener):
        return lambda images: ([outcome] for outcome in screener.each(images, batch_size))
    settings = replace(options.faces, faces=finder)
    detector = screener.detector(settings)
    print_note(errors, f"faces are found by {detector.description}")
    return lambda images: screener.each_face(images, settings, detector=detector, batch_size=batch_size)


@contextlib.contextmanager
def _writer(options: ScreenOptions, screener: ImagePipeline) -> Iterator[ResultsWriter | None]:
    if options.out is None:
        yield None
        return
    identity = Identity(screener.bundle.sha256, screener.variant, screener.alpha)
    with open_results(options.out, identity, resume=options.resume, overwrite=options.overwrite) as writer:
        yield writer


def _record(outcome: Verdict | ProtoleakError, tally: _Tally, writer: ResultsWriter | None, errors: Console) -> None:
    if isinstance(outcome, ProtoleakError):
        tally.failed += 1
        print_error(errors, str(outcome))
        return
    if writer is not None:
        writer.write(outcome)
    tally.verdicts[outcome.label] += 1
    for note in outcome.notes:
        print_note(errors, f"{outcome.source or 'image'}: {note}")
    if len(tally.rows) < ROWS_SHOWN:
        tally.rows.append(outcome)


def _print_table(tally: _Tally) -> None:
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
    from protoleak.faces.still_images import FaceVerdict

    if not isinstance(row, FaceVerdict):
        return ""
    return f"{row.box.width:.0f}×{row.box.height:.0f}{row.box.left:+.0f}{row.box.top:+.0f}"


def _print_summary(tally: _Tally, skipped: int, asked: int, console: Console) -> None:
    judged = sum(tally.verdicts.values())
    parts = [f"{tally.verdicts[verdict]} {verdict}" for verdict in ("known", "real", "unknown")]
    text = f"{judged} {'verdict' if judged == 1 else 'verdicts'}: {', '.join(parts)}"
    if tally.failed:
        text += f"; {tally.failed} failed"
    if skipped:
        text += f"; {skipped} already in the file"
    if tally.interrupted:
        text += f"; interrupted with {asked - tally.images} to go (--out FILE and --resume continue)"
    console.print(text)
