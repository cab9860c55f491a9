"""Writes the records of images to a file as they come, and continues a file that an interrupted run left behind."""

from __future__ import annotations

import contextlib
import csv
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from protoleak.cli.screen_images.earlier_results import EarlierRecords, read_earlier
from protoleak.cli.screen_images.rows import cell, flattened, json_line
from protoleak.cli.screen_options import CSV_SUFFIX, JSON_LINES_SUFFIXES, STANDARD_OUTPUT
from protoleak.errors import ProtoleakError
from protoleak.file_locks import locked
from protoleak.files import LinesFile
from protoleak.image_records import Identity, Record


class ResultsWriter:
    """Writes one line per record at once, so that an interrupted run loses nothing. Made by `open_results`.

    Args:
        append: puts one line, without its end, behind those before, or nothing of it.
        identity: of this run.

    Attributes:
        earlier: what the file already held; such a record is not written again.
    """

    def __init__(
        self,
        append: Callable[[bytes], None],
        identity: Identity,
        *,
        is_csv: bool = False,
        columns: list[str] | None = None,
        earlier: EarlierRecords | None = None,
        example: Callable[[], Record] | None = None,
    ) -> None:
        self.earlier = earlier or EarlierRecords()
        self._append = append
        self._identity = identity
        self._is_csv = is_csv
        self._columns = columns
        self._example = example

    def write(self, record: Record) -> bool:
        """Appends one record; False where the file holds it already.

        Raises:
            ProtoleakError: the disk refused, or a CSV file has other columns.
        """
        if record in self.earlier:
            return False
        line = record.to_dict(self._identity)
        text = self._csv_lines(record, line) if self._is_csv else json_line(line)
        self._append(text.removesuffix("\n").encode())
        return True

    def _csv_lines(self, record: Record, line: dict[str, Any]) -> str:
        row = flattened(line)
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        if self._columns is None:
            self._columns = list(row)
            if record.verdict is None and self._example is not None:
                self._columns = list(flattened(self._example().to_dict(self._identity)))
            writer.writerow(self._columns)
        allowed = set(self._columns)
        if (record.verdict is not None and self._columns != list(row)) or not set(row) <= allowed:
            raise ProtoleakError("the file of --out has other columns than these verdicts: give another --out")
        writer.writerow(cell(row.get(column)) for column in self._columns)
        return lines.getvalue()


@contextlib.contextmanager
def open_results(
    path: str,
    identity: Identity,
    *,
    resume: bool,
    overwrite: bool,
    in_full: bool = False,
    example: Callable[[], Record] | None = None,
) -> Iterator[ResultsWriter]:
    """Opens a results file for this process alone; the suffix says which kind.

    Args:
        path: *.jsonl (one JSON object a line), *.csv, or "-" for JSON Lines on standard output.
        identity: of this run.
        resume: continue an existing file: a half-written last line is dropped, records in it are in `earlier`.
        overwrite: replace an existing file.
        in_full: keep the earlier records whole, for `EarlierRecords.done_in_full`.
        example: gives a record with a verdict, from which a CSV file gets its columns where its first input has none.

    Raises:
        ProtoleakError: the suffix is another one, another process writes the file, it exists and neither option was
            given, it is no results file, or it was made with another bundle, variant, alpha or settings of faces.
            Nothing was changed then.
    """
    if path == STANDARD_OUTPUT:
        if resume:
            raise ProtoleakError("--resume needs a file to continue: give --out FILE.jsonl")
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # JSON is UTF-8 whatever the locale
        yield ResultsWriter(_print_line, identity)
        return
    file = Path(path)
    if file.suffix.lower() not in (*JSON_LINES_SUFFIXES, CSV_SUFFIX):
        raise ProtoleakError(f"--out {path}: the name must end in .jsonl or .csv, or be - for standard output")
    if resume and overwrite:
        raise ProtoleakError("--resume keeps what is there and --overwrite replaces it: give one of them")
    if not file.absolute().parent.is_dir():
        raise ProtoleakError(f"cannot write {path}: there is no folder {file.parent}: make it first")
    if file.is_dir():
        raise ProtoleakError(f"--out {path} is a folder, and results of images are one file: give another name")
    with locked(file):
        yield from _opened(file, identity, resume, overwrite, in_full, example)


def _print_line(line: bytes) -> None:
    """On standard output, at once."""
    try:
        sys.stdout.write(line.decode() + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ProtoleakError(f"cannot write standard output: {error.strerror or error}") from error


def _opened(
    file: Path,
    identity: Identity,
    resume: bool,
    overwrite: bool,
    in_full: bool,
    example: Callable[[], Record] | None,
) -> Iterator[ResultsWriter]:
    is_csv = file.suffix.lower() == CSV_SUFFIX
    mode: Literal["wb", "xb", "ab"] = "wb" if overwrite else "xb"
    columns, earlier = None, EarlierRecords()
    if resume and file.exists():
        columns, earlier = read_earlier(file, identity, is_csv, in_full)
        mode = "ab"
    try:
        lines = LinesFile(file, mode)
    except FileExistsError:
        raise ProtoleakError(
            f"{file} exists: continue it with --resume, replace it with --overwrite, or give another --out"
        ) from None
    with contextlib.closing(lines):
        yield ResultsWriter(lines.append, identity, is_csv=is_csv, columns=columns, earlier=earlier, example=example)
