"""What commands that measure and report have in common: a bar, tables, and the report's JSON and HTML files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from protoleak.errors import ProtoleakError

if TYPE_CHECKING:
    import msgspec
    from rich.console import Console

ALL_WELL, SOME_FAILED, NOTHING_DONE = 0, 1, 2

JsonFileOption = Annotated[
    Optional[Path],  # noqa: UP045 Typer evaluates this on Python 3.10 too
    typer.Option("--json", help="Write all numbers here."),
]
HtmlFileOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--html", help="Write one page with plots here."),
]


def check_folders(*files: Path | None) -> None:
    """Raises ProtoleakError where a file's folder isn't there: known before minutes are spent, not after."""
    for file in files:
        if file is not None and not file.absolute().parent.is_dir():
            raise ProtoleakError(f"{file}: there is no folder {file.parent}: make it first")


@contextmanager
def report_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error where a person can see it: called with what is done, steps done and steps in all."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("")
        yield lambda name, done, total: progress.update(task, description=name, completed=done, total=total)


def write_report(
    report: msgspec.Struct, page: Callable[[], str], json_file: Path | None, html_file: Path | None
) -> None:
    """Writes the files that were asked for.

    Args:
        page: makes the report as one HTML page; called only when it is wanted.

    Raises:
        ProtoleakError: the disk refused.
    """
    import msgspec

    contents = []
    if json_file is not None:
        contents.append((json_file, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"))
    if html_file is not None:
        contents.append((html_file, page().encode()))
    for file, content in contents:
        try:
            file.write_bytes(content)
        except OSError as error:
            raise ProtoleakError(f"{file} cannot be written: {error.strerror or error}") from error


def report_console(width: int) -> Console:
    """Standard output; `width` columns where it isn't a terminal, so that no table of the report is folded."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else width)


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


def exit_status(failed: int, of: int, problems: bool) -> int:
    """Of a report with so many parts that failed out of all; `problems` are smaller ones."""
    if failed == of:
        return NOTHING_DONE
    return SOME_FAILED if failed or problems else ALL_WELL
