"""What a results file holds that an earlier run left behind, for the run that continues it."""

from __future__ import annotations

import csv
import json
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from protoleak.cli.screen_images.rows import nested, setting
from protoleak.errors import ProtoleakError
from protoleak.image_records import SCHEMA, Identity, Outcome, Record, Settings, sha256_of_file, source_name
from protoleak.runtime.verdict import BundleRecord


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


def read_earlier(
    file: Path, identity: Identity, is_csv: bool, in_full: bool
) -> tuple[list[str] | None, EarlierRecords]:
    """Checks every line, cuts off a last one that was only half written, and returns columns and records.

    Args:
        identity: of the run that continues the file.
        in_full: keep the lines of a JSON Lines file, for `EarlierRecords.done_in_full`.

    Raises:
        ProtoleakError: it is no results file, cannot be read, or is of a run with another identity.
    """
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
            found["bundle"] = nested(named, "bundle.")
            found["settings"] = {name.removeprefix("settings."): setting(named[name]) for name in settings}
            records.append(msgspec.convert(found, EarlierLine, strict=False))
        except (KeyError, TypeError, AttributeError, msgspec.ValidationError) as error:
            raise ProtoleakError(f"{file}, line {number}, is no record: {error}; give another --out") from error
    if not {"schema", "source", "alpha", "bundle.sha256", "bundle.variant"} <= set(columns):
        raise ProtoleakError(f"{file} is no results file: give another --out")
    return columns, records
