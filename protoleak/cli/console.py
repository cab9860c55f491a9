"""How commands print: errors and notes in one line each, tables, progress of plans, and a report's files."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protoleak.cli.options import OUTPUT
from protoleak.errors import LONGEST_INPUT, ProtoleakError, shortened
from protoleak.text import harmless

if TYPE_CHECKING:
    import msgspec
    from rich.console import Console

    from protoleak.progress import Progress

WIDTH_WITHOUT_TERMINAL = 120
COLOURS = {"known": "red", "real": "green", "unknown": "yellow", "undecided": "dim"}
TOO_LONG = re.compile(rf"\S{{{LONGEST_INPUT + 1},}}")  # a path or a string of base64: it has no space

JsonFileOption = Annotated[Path | None, typer.Option("--json", rich_help_panel=OUTPUT, help="Write all numbers here.")]
HtmlFileOption = Annotated[
    Path | None, typer.Option("--html", rich_help_panel=OUTPUT, help="Write one page with plots here.")
]


def without_long_inputs(message: str, inputs: Iterable[str] = ()) -> str:
    """A message in which no input of more than LONGEST_INPUT characters stands in full.

    Args:
        inputs: what was typed, and may be repeated in the message.
    """
    for given in inputs:
        if len(given) > LONGEST_INPUT:
            message = message.replace(given, shortened(given))
    return TOO_LONG.sub(lambda found: shortened(found[0]), message)


def coloured(verdict: str) -> str:
    """A verdict in its colour on a terminal, as Rich's markup."""
    return f"[{COLOURS[verdict]}]{verdict}[/{COLOURS[verdict]}]"


def say(*texts: str, to_errors: bool = False) -> None:
    """Prints lines that may hold names from files, harmless to a terminal."""
    print(*map(harmless, texts), file=sys.stderr if to_errors else sys.stdout)


def error_console() -> Console:
    """Standard error, a line per message whatever its length."""
    return _harmless_console()(stderr=True, soft_wrap=True, highlight=False)


def output_console(width: int = WIDTH_WITHOUT_TERMINAL) -> Console:
    """Standard output; `width` columns where it isn't a terminal, so that no table is folded for want of one."""
    narrow = None if sys.stdout.isatty() or "COLUMNS" in os.environ else width
    return _harmless_console()(width=narrow, highlight=False)


@cache
def _harmless_console() -> type[Console]:
    """A console that shows nothing which a terminal would obey, but its own colours: names of files, bundles and
    generators come from others, and Rich lets escape sequences in them through."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class HarmlessConsole(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(harmless(segment.text), segment.style)

    return HarmlessConsole


def print_note(console: Console, message: str) -> None:
    """A line that the user should know."""
    from rich.markup import escape

    console.print(f"[dim]note:[/dim] {escape(without_long_inputs(message))}", soft_wrap=True)


def print_error(console: Console, message: str) -> None:
    """A line on what failed while the rest goes on."""
    from rich.markup import escape

    console.print(f"[red]error:[/red] {escape(without_long_inputs(message))}")


@contextmanager
def plan_progress(title: str) -> Iterator[Progress]:
    """Shows the building of a plan as one stage, with the builder's phases as notes."""
    from protoleak.progress import shown_progress

    with shown_progress(stage_lines=False) as progress:

        def show(phase: str, done: int, total: int, _: str = "", /) -> None:
            progress(f"building {title}", min(done, max(total - 1, 0)), total, phase)  # the last phase ends the stage

        yield show


def check_folders(*files: Path | None) -> None:
    """Raises ProtoleakError where a file's folder isn't there: known before minutes are spent, not after."""
    for file in files:
        if file is not None and not file.absolute().parent.is_dir():
            raise ProtoleakError(f"{file}: there is no folder {file.parent}: make it first")


def write_report(
    report: msgspec.Struct, page: Callable[[], str], json_file: Path | None, html_file: Path | None
) -> None:
    """Writes the files that were asked for.

    Args:
        page: makes the report as one HTML page; called only when it is wanted.

    Raises:
        ProtoleakError: the disk refused.
    """
    from protoleak.files import write_whole
    from protoleak.strict_json import json_bytes

    if json_file is not None:
        write_whole(json_file, [json_bytes(report)])
    if html_file is not None:
        write_whole(html_file, [page().encode()])


def print_table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table and an empty line below it; nothing where there are no rows."""
    from rich.markup import escape
    from rich.table import Table

    if not rows:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", overflow="fold")
    for cells in rows:
        table.add_row(*map(escape, cells))
    console.print(table)
    console.print()
