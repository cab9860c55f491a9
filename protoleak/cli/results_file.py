"""Writes the records of images to a file as they come, and continues a file that an interrupted run left behind."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TextIO

import msgspec

from protoleak.errors import ProtoleakError
from protoleak.files import locked
from protoleak.image_records import SCHEMA, Identity, Outcome, Record, Settings, sha256_of_file, source_name
from protoleak.runtime.verdict import BundleRecord

JSON_LINES_SUFFIXES = (".jsonl", ".ndjson")
CSV_SUFFIX = ".csv"
STANDARD_OUTPUT = "-"
# With these a spreadsheet begins a formula, in any of the widths that they are typed in; the first one is our own mark.
FORMULA = ("'", "=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")

Row = dict[str, "str | int | float | None"]


class EarlierLine(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a line that resuming needs; the fields are those of the record."""

    schema: int
    outcome: Outcome
    source: str | None
    sha256: str | None
    face: int | None
    faces: int | None
    reason: str | None
    alpha: float
    bundle: BundleRecord
    settings: Settings

    @property
    def key(self) -> tuple[object, ...]:
        """As `Record.key`."""
        return (self.source, self.sha256, self.outcome, self.face, self.reason)

    @property
    def identity(self) -> Identity:
        """Of the run that wrote it."""
        return Identity(bundle=self.bundle, alpha=self.alpha, settings=self.settings)


class EarlierRecords:
    """What a file held when it was opened.

    Args:
        lines: of the file.
        texts: the same lines in full, where they are JSON and wanted.
    """

    def __init__(self, lines: Iterable[EarlierLine] = (), texts: Iterable[str] = ()) -> None:
        self._texts = list(texts)
        self._keys: set[tuple[object, ...]] = set()
        self._of_source: defaultdict[str | None, list[tuple[int, EarlierLine]]] = defaultdict(list)
        for number, line in enumerate(lines):
            self._keys.add(line.key)
            self._of_source[line.source].append((number, line))

    def __contains__(self, record: Record) -> bool:
        """Whether this very record is there already."""
        return record.key in self._keys

    def done(self, path: str) -> list[EarlierLine] | None:
        """The records of an image for which nothing is left to do: all its faces have a verdict, or there is none to
        judge, and its file is still the same. None where it is to be judged: what failed is tried again.

        Args:
            path: as given.
        """
        return None if (found := self._done(path)) is None else [line for _, line in found]

    def done_in_full(self, path: str) -> list[dict[str, Any]]:
        """The same records whole, of a file of JSON Lines; none where something is left to do."""
        return [json.loads(self._texts[number]) for number, _ in self._done(path) or () if self._texts]

    def _done(self, path: str) -> list[tuple[int, EarlierLine]] | None:
        lines = self._of_source.get(source_name(path))
        if not lines or (now := sha256_of_file(path)) is None:
            return None
        of_file = [one for one in lines if one[1].sha256 == now and one[1].outcome in ("verdict", "no_face")]
        if not of_file:
            return None
        faces = {line.face for _, line in of_file if line.outcome == "verdict"}
        wanted = of_file[-1][1].faces or 0
        whole = any(line.face is None for _, line in of_file)
        return of_file if whole or faces >= set(range(1, wanted + 1)) else None


class ResultsWriter:
    """Writes one line per record and flushes each, so that an interrupted run loses nothing. Made by `open_results`.

    Attributes:
        earlier: what the file already held; such a record is not written again.
    """

    def __init__(
        self,
        file: TextIO,
        identity: Identity,
        *,
        is_csv: bool = False,
        columns: list[str] | None = None,
        earlier: EarlierRecords | None = None,
        example: Callable[[], Record] | None = None,
    ) -> None:
        self.earlier = earlier or EarlierRecords()
        self._file = file
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
        try:
            self._file.write(self._csv_lines(record, line) if self._is_csv else json_line(line))
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise ProtoleakError(f"cannot write {self._file.name}: {error.strerror or error}") from error
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
            raise ProtoleakError(f"{self._file.name} has other columns than these verdicts: give another --out")
        writer.writerow(cell(row.get(column)) for column in self._columns)
        return lines.getvalue()


def json_line(line: dict[str, Any]) -> str:
    """One line of JSON without a character that a terminal would obey or hide, such as C1 controls and marks of
    direction; JSON has an escape for each."""
    text = msgspec.json.encode(line).decode()
    if not text.isprintable():
        text = "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)
    return text + "\n"


def cell(value: str | int | float | None) -> str | int | float | None:
    """A CSV cell on one line, which no spreadsheet takes for a formula: such a text gets an apostrophe before it."""
    if not isinstance(value, str):
        return value
    line = "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in " ".join(value.splitlines()))
    return f"'{line}" if value.startswith(FORMULA) else line


def flattened(line: dict[str, Any]) -> Row:
    """A record as one row: nested names joined by dots, lists as JSON."""
    row: Row = {}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{prefix}.{key}" if prefix else key, inner)
        else:
            row[prefix] = json.dumps(value) if isinstance(value, (list, tuple)) else value

    add("", line)
    return row


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
        yield ResultsWriter(sys.stdout, identity)
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


def _opened(
    file: Path,
    identity: Identity,
    resume: bool,
    overwrite: bool,
    in_full: bool,
    example: Callable[[], Record] | None,
) -> Iterator[ResultsWriter]:
    is_csv = file.suffix.lower() == CSV_SUFFIX
    mode: Literal["w", "x", "a"] = "w" if overwrite else "x"
    columns, earlier = None, EarlierRecords()
    if resume and file.exists():
        columns, earlier = _prepare_to_append(file, identity, is_csv, in_full)
        mode = "a"
    try:
        stream = file.open(mode, encoding="utf-8", newline="")
    except FileExistsError:
        raise ProtoleakError(
            f"{file} exists: continue it with --resume, replace it with --overwrite, or give another --out"
        ) from None
    except OSError as error:
        raise ProtoleakError(f"cannot write {file}: {error.strerror or error}") from error
    try:
        yield ResultsWriter(stream, identity, is_csv=is_csv, columns=columns, earlier=earlier, example=example)
    except BaseException:
        with contextlib.suppress(OSError):  # closing tries again to write what was just reported as unwritable
            stream.close()
        raise
    try:
        stream.close()
    except OSError as error:
        raise ProtoleakError(f"cannot write {file}: {error.strerror or error}") from error


def _prepare_to_append(
    file: Path, identity: Identity, is_csv: bool, in_full: bool
) -> tuple[list[str] | None, EarlierRecords]:
    """Checks every line, cuts off a last one that was only half written, and returns columns and records."""
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
    texts = lines if in_full and not is_csv else ()
    begins = b"schema," if is_csv else b'{"schema":'
    if not lines and not (unfinished.startswith(begins) or begins.startswith(unfinished)):
        raise ProtoleakError(f"{file} is no results file: give another --out")
    for number, record in enumerate(records, start=2 if is_csv else 1):
        if record.schema != SCHEMA:
            raise ProtoleakError(
                f"{file}, line {number}, has schema {record.schema}, and this protoleak writes {SCHEMA}: give another "
                "--out"
            )
        if record.identity != identity:
            raise ProtoleakError(
                f"{file}, line {number}, was made with {_shown(record.identity)}; this run has {_shown(identity)}: "
                "give another --out, or the same bundle and options"
            )
    if unfinished:
        os.truncate(file, complete)
    return columns, EarlierRecords(records, texts)


def _shown(identity: Identity) -> str:
    bundle = identity.bundle
    settings = ", ".join(f"{name} {value}" for name, value in identity.settings.items())
    signer = bundle.signer
    trust = "" if signer is None else f" signed by {signer.key[:19]}…{'' if signer.trusted else ' (no trusted key)'}"
    return f"bundle {bundle.sha256[:12]}…{trust}, variant {bundle.variant}, alpha {identity.alpha:g}, {settings}"


def _json_records(lines: list[str], file: Path) -> list[EarlierLine]:
    records = []
    decoder = msgspec.json.Decoder(EarlierLine)
    for number, line in enumerate(lines, start=1):
        try:
            records.append(decoder.decode(line))
        except msgspec.DecodeError as error:
            raise ProtoleakError(f"{file}, line {number}, is no record: {error}; give another --out") from error
    return records


def _csv_records(lines: list[str], file: Path) -> tuple[list[str] | None, list[EarlierLine]]:
    try:
        rows = list(csv.reader(lines))
    except csv.Error as error:  # a cell longer than any of ours, a NUL byte
        raise ProtoleakError(f"{file} is no results file: {error}; give another --out") from error
    if not rows:
        return None, []
    columns = rows[0]
    settings = [column for column in columns if column.startswith("settings.")]
    records = []
    for number, row in enumerate(rows[1:], start=2):
        named = {column: value.removeprefix("'") or None for column, value in zip(columns, row, strict=False)}
        try:
            found: dict[str, Any] = {name: named[name] for name in EarlierLine.__struct_fields__ if name in named}
            found["bundle"] = _nested(named, "bundle.")
            found["settings"] = {name.removeprefix("settings."): _number(named[name]) for name in settings}
            records.append(msgspec.convert(found, EarlierLine, strict=False))
        except (KeyError, TypeError, AttributeError, msgspec.ValidationError) as error:
            raise ProtoleakError(f"{file}, line {number}, is no record: {error}; give another --out") from error
    if not {"schema", "source", "alpha", "bundle.sha256", "bundle.variant"} <= set(columns):
        raise ProtoleakError(f"{file} is no results file: give another --out")
    return columns, records


def _nested(named: dict[str, str | None], prefix: str) -> dict[str, Any]:
    """What `flattened` made columns of: the values whose columns begin with a prefix."""
    nested: dict[str, Any] = {}
    for column, value in named.items():
        if column.startswith(prefix):
            *outer, name = column.removeprefix(prefix).split(".")
            place = nested
            for part in outer:
                place = place.setdefault(part, {})
            place[name] = value
    return nested


def _number(text: str | None) -> str | int | float | None:
    """A setting as it was before it became a cell."""
    if text is None:
        return None
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text
