"""Writes verdicts to a file as they come, and continues a file that an interrupted run left behind."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TextIO

import msgspec

from protoleak.errors import ProtoleakError
from protoleak.runtime.verdict import Verdict

JSON_LINES_SUFFIXES = (".jsonl", ".ndjson")
CSV_SUFFIX = ".csv"
STANDARD_OUTPUT = "-"


class Identity(msgspec.Struct, frozen=True):
    """What two runs must have in common to stand in one file."""

    bundle_sha256: str
    variant: str
    alpha: float


class ResultsWriter:
    """Writes one line per verdict and flushes each, so that an interrupted run loses nothing. Made by `open_results`.

    Attributes:
        done: the sources that the file already held.
    """

    def __init__(self, file: TextIO, *, is_csv: bool, columns: list[str] | None, done: frozenset[str]) -> None:
        self.done = done
        self._file = file
        self._is_csv = is_csv
        self._columns = columns

    def write(self, verdict: Verdict) -> None:
        """Appends one verdict.

        Raises:
            ProtoleakError: the disk refused, or a CSV file has other columns.
        """
        try:
            self._file.write(self._csv_lines(verdict) if self._is_csv else verdict.to_json() + "\n")
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise ProtoleakError(f"cannot write {self._file.name}: {error.strerror or error}") from error

    def _csv_lines(self, verdict: Verdict) -> str:
        row = flattened(verdict)
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        if self._columns is None:
            self._columns = list(row)
            writer.writerow(self._columns)
        elif self._columns != list(row):
            raise ProtoleakError(f"{self._file.name} has other columns than these verdicts: give another --out")
        writer.writerow(" ".join(value.splitlines()) if isinstance(value, str) else value for value in row.values())
        return lines.getvalue()


def flattened(verdict: Verdict) -> dict[str, str | int | float | None]:
    """A verdict as one row: nested names joined by dots, lists as JSON."""
    row: dict[str, str | int | float | None] = {}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{prefix}.{key}" if prefix else key, inner)
        else:
            row[prefix] = json.dumps(value) if isinstance(value, (list, tuple)) else value

    add("", verdict.to_dict())
    return row


@contextlib.contextmanager
def open_results(path: str, identity: Identity, *, resume: bool, overwrite: bool) -> Iterator[ResultsWriter]:
    """Opens a results file; the suffix says which kind.

    Args:
        path: *.jsonl (one JSON object a line), *.csv, or "-" for JSON Lines on standard output.
        identity: of this run.
        resume: continue an existing file: a half-written last line is dropped, sources in it are in `done`.
        overwrite: replace an existing file.

    Raises:
        ProtoleakError: the suffix is another one, the file exists and neither option was given, it is no results file,
            or it was made with another bundle, variant or alpha. Nothing was changed then.
    """
    if path == STANDARD_OUTPUT:
        if resume:
            raise ProtoleakError("--resume needs a file to continue: give --out FILE.jsonl")
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # JSON is UTF-8 whatever the locale
        yield ResultsWriter(sys.stdout, is_csv=False, columns=None, done=frozenset())
        return
    file = Path(path)
    if file.suffix.lower() not in (*JSON_LINES_SUFFIXES, CSV_SUFFIX):
        raise ProtoleakError(f"--out {path}: the name must end in .jsonl or .csv, or be - for standard output")
    if resume and overwrite:
        raise ProtoleakError("--resume keeps what is there and --overwrite replaces it: give one of them")
    is_csv = file.suffix.lower() == CSV_SUFFIX
    mode: Literal["w", "x", "a"] = "w" if overwrite else "x"
    columns, done = None, frozenset[str]()
    if resume and file.exists():
        columns, done = _prepare_to_append(file, identity, is_csv)
        mode = "a"
    try:
        stream = file.open(mode, encoding="utf-8", newline="")
    except FileExistsError:
        raise ProtoleakError(
            f"{path} exists: continue it with --resume, replace it with --overwrite, or give another --out"
        ) from None
    except OSError as error:
        raise ProtoleakError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield ResultsWriter(stream, is_csv=is_csv, columns=columns, done=done)
    except BaseException:
        with contextlib.suppress(OSError):  # closing tries again to write what was just reported as unwritable
            stream.close()
        raise
    try:
        stream.close()
    except OSError as error:
        raise ProtoleakError(f"cannot write {path}: {error.strerror or error}") from error


def _prepare_to_append(file: Path, identity: Identity, is_csv: bool) -> tuple[list[str] | None, frozenset[str]]:
    """Checks every line, cuts off a last one that was only half written, and returns columns and sources."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ProtoleakError(f"cannot read {file}: {error.strerror or error}") from error
    complete = data.rfind(b"\n") + 1
    unfinished = data[complete:]
    try:
        lines = data[:complete].decode("utf-8").split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise ProtoleakError(f"{file} is no results file: {error}; give another --out") from error
    columns, records = _csv_records(lines, file) if is_csv else (None, _json_records(lines, file))
    begins = b"source," if is_csv else b'{"source":'
    if not lines and not (unfinished.startswith(begins) or begins.startswith(unfinished)):
        raise ProtoleakError(f"{file} is no results file: give another --out")
    done = set()
    for number, (source, found) in enumerate(records, start=2 if is_csv else 1):
        if found != identity:
            raise ProtoleakError(
                f"{file}, line {number}, was made with bundle {found.bundle_sha256[:12]}…, variant {found.variant}, "
                f"alpha {found.alpha:g}; this run has {identity.bundle_sha256[:12]}…, {identity.variant}, "
                f"{identity.alpha:g}: give another --out, or the same bundle and options"
            )
        if source is not None:
            done.add(source)
    if unfinished:
        os.truncate(file, complete)
    return columns, frozenset(done)


class _BundlePart(msgspec.Struct):
    sha256: str
    variant: str


class _VerdictLine(msgspec.Struct):
    """The part of a JSON line that resuming needs."""

    source: str | None
    alpha: float
    bundle: _BundlePart


def _json_records(lines: list[str], file: Path) -> list[tuple[str | None, Identity]]:
    records = []
    decoder = msgspec.json.Decoder(_VerdictLine)
    for number, line in enumerate(lines, start=1):
        try:
            parsed = decoder.decode(line)
        except msgspec.DecodeError as error:
            raise ProtoleakError(f"{file}, line {number}, is no verdict: {error}; give another --out") from error
        records.append((parsed.source, Identity(parsed.bundle.sha256, parsed.bundle.variant, parsed.alpha)))
    return records


def _csv_records(lines: list[str], file: Path) -> tuple[list[str] | None, list[tuple[str | None, Identity]]]:
    rows = list(csv.reader(lines))
    if not rows:
        return None, []
    columns = rows[0]
    records = []
    for number, row in enumerate(rows[1:], start=2):
        named = dict(zip(columns, row, strict=False))
        try:
            identity = Identity(named["bundle.sha256"], named["bundle.variant"], float(named["alpha"]))
            records.append((named["source"] or None, identity))
        except (KeyError, ValueError) as error:
            raise ProtoleakError(f"{file}, line {number}, is no verdict: {error}; give another --out") from error
    if not {"source", "alpha", "bundle.sha256", "bundle.variant"} <= set(columns):
        raise ProtoleakError(f"{file} is no results file: give another --out")
    return columns, records
