"""`protoleak screen`: verdicts for images, folders, globs and lists of paths."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from protoleak.commands.build_bar import build_bar
from protoleak.errors import ProtoleakError
from protoleak.runtime.engines import EngineOptions
from protoleak.runtime.media import printable
from protoleak.runtime.results import STANDARD_OUTPUT, Identity, ResultsWriter, open_results
from protoleak.runtime.screener import Screener
from protoleak.runtime.sources import expand_sources
from protoleak.runtime.verdict import Verdict

ROWS_SHOWN = 50
WIDTH_WITHOUT_TERMINAL = 120
ALL_WELL, SOME_FAILED, NOTHING_DONE, INTERRUPTED = 0, 1, 2, 130
COLOURS = {"known": "red", "real": "green", "unknown": "yellow"}


@dataclass(frozen=True)
class ScreenOptions:
    """The options of the command, by the same names."""

    sources: list[str]
    bundle: str | None = None
    out: str | None = None
    alpha: float = 0.05
    resume: bool = False
    overwrite: bool = False
    batch_size: int = 8
    engine: str = "auto"
    variant: str = "auto"
    threads: int | None = None
    precision: str = "variant"
    device: int = 0


@dataclass
class _Tally:
    """What has come of the images so far; only the rows to be shown are kept."""

    rows: list[Verdict]
    verdicts: Counter[str]
    failed: int = 0
    interrupted: bool = False


def run(options: ScreenOptions) -> int:
    """Screens all sources and returns the exit status.

    Raises:
        ProtoleakError: nothing could be started: the bundle, engine, alpha or results file is not usable.
    """
    if options.resume and options.out is None:
        raise ProtoleakError("--resume needs the file to continue: give --out FILE.jsonl")
    warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters of them is in our notes and errors, one line each
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    screener = _open(options, errors)
    listed = expand_sources(options.sources, sys.stdin.buffer if "-" in options.sources else io.BytesIO())
    tally = _Tally([], Counter())
    with _writer(options, screener) as writer:
        done = frozenset[str]() if writer is None else writer.done
        todo = [item for item in listed if not (isinstance(item, str) and printable(item) in done)]
        skipped = len(listed) - len(todo)
        with _progress(len(todo), errors) as advance:
            try:
                for outcome in screener.each(todo, options.batch_size):
                    _record(outcome, tally, writer, errors)
                    advance()
            except KeyboardInterrupt:
                tally.interrupted = True
    to_standard_output = options.out == STANDARD_OUTPUT
    if tally.rows and not to_standard_output:
        _print_table(tally)
    _print_summary(tally, skipped, len(todo), errors if to_standard_output else _standard_output())
    if tally.interrupted:
        return INTERRUPTED
    answered = sum(tally.verdicts.values()) + skipped
    if not tally.failed:
        return ALL_WELL
    return SOME_FAILED if answered else NOTHING_DONE


def _open(options: ScreenOptions, errors: Console) -> Screener:
    if options.precision not in ("variant", "bf16"):
        raise ProtoleakError(f"--precision {options.precision}: choose variant or bf16")
    with build_bar("the plans of this bundle") as progress:
        return Screener(
            options.bundle,
            alpha=options.alpha,
            variant=options.variant,
            engine=options.engine,
            threads=options.threads,
            engine_options=EngineOptions(
                precision=options.precision,  # type: ignore[arg-type]  # checked above
                device=options.device,
                notify=lambda message: errors.print(f"[dim]note:[/dim] {escape(message)}"),
                progress=progress,
            ),
        )


@contextlib.contextmanager
def _writer(options: ScreenOptions, screener: Screener) -> Iterator[ResultsWriter | None]:
    if options.out is None:
        yield None
        return
    identity = Identity(screener.bundle.sha256, screener.variant, screener.alpha)
    with open_results(options.out, identity, resume=options.resume, overwrite=options.overwrite) as writer:
        yield writer


def _record(outcome: Verdict | ProtoleakError, tally: _Tally, writer: ResultsWriter | None, errors: Console) -> None:
    if isinstance(outcome, ProtoleakError):
        tally.failed += 1
        errors.print(f"[red]error:[/red] {escape(str(outcome))}")
        return
    if writer is not None:
        writer.write(outcome)
    tally.verdicts[outcome.verdict] += 1
    for note in outcome.notes:
        errors.print(f"[dim]note:[/dim] {escape(outcome.source or 'image')}: {escape(note)}")
    if len(tally.rows) < ROWS_SHOWN:
        tally.rows.append(outcome)


@contextlib.contextmanager
def _progress(total: int, console: Console) -> Iterator[Callable[[], None]]:
    """A bar on standard error where more than one image is to be screened and a person can see it."""
    if total < 2 or not console.is_terminal:
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("screening"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("screening", total=total)
        yield lambda: progress.advance(task)


def _standard_output() -> Console:
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH_WITHOUT_TERMINAL
    return Console(width=width, highlight=False)


def _print_table(tally: _Tally) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("image", overflow="fold")
    table.add_column("verdict")
    table.add_column("nearest", overflow="fold")
    table.add_column("p-value", justify="right")
    for row in tally.rows:
        colour = COLOURS[row.verdict]
        table.add_row(
            escape(row.source or "image"),
            f"[{colour}]{row.verdict}[/{colour}]",
            escape(row.nearest),
            f"{row.p_value:.3f}",
        )
    console = _standard_output()
    console.print(table)
    hidden = sum(tally.verdicts.values()) - len(tally.rows)
    if hidden > 0:
        console.print(f"… and {hidden} more; --out FILE.jsonl keeps them all")


def _print_summary(tally: _Tally, skipped: int, asked: int, console: Console) -> None:
    answered = sum(tally.verdicts.values())
    parts = [f"{tally.verdicts[verdict]} {verdict}" for verdict in ("known", "real", "unknown")]
    text = f"{answered} {'verdict' if answered == 1 else 'verdicts'}: {', '.join(parts)}"
    if tally.failed:
        text += f"; {tally.failed} failed"
    if skipped:
        text += f"; {skipped} already in the file"
    if tally.interrupted:
        text += f"; interrupted with {asked - answered - tally.failed} to go (--out FILE and --resume continue)"
    console.print(text)
