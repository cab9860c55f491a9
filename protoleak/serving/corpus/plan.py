"""The folder of results, and how it is continued: the inputs in blocks, and a part with the rows of each block.

    OUT/corpus.json              what the run is, written when all inputs are listed
    OUT/inputs.parquet           the inputs, in order
    OUT/verdicts/part-000000.parquet   the rows of the first block, and so on
    OUT/summary.json             counts, intervals and false-discovery control, when all parts are there

A part appears under its name whole or not at all. So a block is done exactly where its part is there, and a run that
was killed at any moment is continued by doing the blocks that have none: nothing is there twice and nothing is lost,
whatever the killed workers were about to do.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from protoleak.errors import ProtoleakError
from protoleak.files import NO_ROOM, refused, replacing, write_whole
from protoleak.image_records import SCHEMA, Identity, Settings
from protoleak.serving.corpus.listing import Input
from protoleak.strict_json import json_bytes

if TYPE_CHECKING:
    import pyarrow.parquet as pq

CORPUS, INPUTS, PARTS, SUMMARY = "corpus.json", "inputs.parquet", "verdicts", "summary.json"
ROWS_PER_GROUP = 16384  # of the list of inputs: what a worker reads to find a block
SMALLEST_BLOCK, MOST_BLOCKS, LARGEST_BLOCK = 64, 4096, 1024


class Corpus(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is. One that continues it must have the same sources, column and identity.

    Attributes:
        schema: as of the record's lines.
        protoleak: version that began it.
        sources: as typed, without secrets in addresses.
        column: of Parquet files.
        identity: bundle, alpha and settings.
        generators: of the bundle.
        inputs: how many were listed.
        block: inputs per block.
    """

    schema: int
    protoleak: str
    sources: list[str]
    column: str | None
    identity: Identity
    generators: list[str]
    inputs: int
    block: int

    @property
    def blocks(self) -> int:
        """How many blocks there are; the last one may be smaller."""
        return -(-self.inputs // self.block)

    def size(self, block: int) -> int:
        """Inputs of a block."""
        return min(self.block, self.inputs - block * self.block)


def block_size(inputs: int) -> int:
    """Inputs per block: few enough that a killed worker costs little, and not so few that there are too many files."""
    return min(LARGEST_BLOCK, max(SMALLEST_BLOCK, -(-inputs // MOST_BLOCKS)))


class Folder:
    """The folder of results.

    Args:
        path: made where it isn't there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.summary = path / SUMMARY

    def prepare(self, *, resume: bool, overwrite: bool) -> Corpus | None:
        """What was begun there and is to be continued; None for a new run, which then has to `clear` the folder.

        Raises:
            ProtoleakError: there are results and neither option was given, or what is there is no corpus.
        """
        if resume and overwrite:
            raise ProtoleakError("--resume keeps what is there and --overwrite replaces it: give one of them")
        begun = self.path / CORPUS
        if self.path.exists() and not self.path.is_dir():
            raise ProtoleakError(f"--out {self.path}: a file: give a folder")
        if overwrite or not begun.exists():
            if not overwrite and (self.path / PARTS).exists():
                raise ProtoleakError(f"{self.path} has a folder {PARTS} and no {CORPUS}: give another --out")
            return None
        if not resume:
            raise ProtoleakError(
                f"{self.path} exists: continue it with --resume, replace it with --overwrite, or give another --out"
            )
        for left in (self.path / PARTS).glob(".partial.*"):  # of workers that were killed while they wrote
            shutil.rmtree(left, ignore_errors=True)
        return self.load()

    def clear(self) -> None:
        """Removes the results of an earlier run, and nothing else."""
        (self.path / CORPUS).unlink(missing_ok=True)  # first: without it nothing else counts
        for name in (INPUTS, SUMMARY):
            (self.path / name).unlink(missing_ok=True)
        for part in self.parts():
            part.unlink()

    def load(self) -> Corpus:
        """Raises ProtoleakError where it is none of this version's."""
        begun = self.path / CORPUS
        try:
            corpus = msgspec.json.decode(begun.read_bytes(), type=Corpus)
        except (OSError, msgspec.DecodeError) as error:
            raise ProtoleakError(f"{begun}: {error}: give another --out") from error
        if corpus.schema != SCHEMA:
            raise ProtoleakError(
                f"{begun} has schema {corpus.schema}, and this protoleak writes {SCHEMA}: give another --out"
            )
        return corpus

    def begin(self, corpus: Corpus) -> None:
        """From now on the run can be continued."""
        (self.path / PARTS).mkdir(exist_ok=True)
        write_whole(self.path / CORPUS, [json_bytes(corpus)])

    def write_inputs(self, inputs: Iterable[Input]) -> int:
        """Writes the inputs as they come, so that memory doesn't grow with them, and returns how many there are.

        Raises:
            ProtoleakError: the disk is full.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema(
            [
                ("kind", pa.string()),
                ("source", pa.string()),
                ("path", pa.binary()),
                ("start", pa.int64()),
                ("size", pa.int64()),
                ("reason", pa.string()),
            ]
        )
        count, stream = 0, iter(inputs)
        listed, groups = self.path / INPUTS, iter(lambda: list(islice(stream, ROWS_PER_GROUP)), [])
        try:
            with replacing(listed) as staged, pq.ParquetWriter(staged, schema, compression="zstd") as writer:
                for group in groups:
                    writer.write_table(pa.Table.from_pylist([msgspec.structs.asdict(one) for one in group], schema))
                    count += len(group)
        except OSError as error:
            if error.errno in NO_ROOM:  # others are of the sources, which are listed meanwhile
                raise refused(listed, error) from error
            raise
        return count

    def part(self, block: int) -> Path:
        """The file with a block's rows."""
        return self.path / PARTS / f"part-{block:06d}.parquet"

    def parts(self) -> list[Path]:
        """Those that are there, in order."""
        return sorted((self.path / PARTS).glob("part-*.parquet"))

    def unfinished(self, corpus: Corpus) -> list[int]:
        """The blocks that have no part yet."""
        done = {path.name for path in self.parts()}
        return [block for block in range(corpus.blocks) if self.part(block).name not in done]


class Inputs:
    """The list of inputs, read block by block."""

    def __init__(self, folder: Folder, corpus: Corpus) -> None:
        import pyarrow.parquet as pq

        self._file: pq.ParquetFile = pq.ParquetFile(os.fspath(folder.path / INPUTS))
        self._corpus = corpus
        self._group = lru_cache(maxsize=2)(self._file.read_row_group)

    def __getitem__(self, block: int) -> list[Input]:
        """Those of a block, in order."""
        start = block * self._corpus.block
        end = start + self._corpus.size(block)
        found: list[Input] = []
        while start < end:
            group, skipped = divmod(start, ROWS_PER_GROUP)
            rows = self._group(group).slice(skipped, end - start)
            found += [Input(**row) for row in rows.to_pylist()]
            start += rows.num_rows
        return found


def check_same(folder: Path, begun: Corpus, sources: list[str], column: str | None) -> None:
    """Raises ProtoleakError where a run that is to be continued has other sources."""
    if (begun.sources, begun.column) != (sources, column):
        asked = " ".join(begun.sources) + (f" --column {begun.column}" if begun.column else "")
        raise ProtoleakError(
            f"{folder} was begun with the sources {asked}, and these are others: give the same, or another --out"
        )


def check_identity(folder: Path, begun: Identity, now: Identity) -> None:
    """Raises ProtoleakError where a run that is to be continued has another bundle, alpha or other settings."""
    if begun != now:
        raise ProtoleakError(
            f"{folder} was begun with {_shown(begun)}; this run has {_shown(now)}: give another --out, or the same "
            "bundle and options"
        )


def _shown(identity: Identity) -> str:
    settings: Settings = identity.settings
    bundle = identity.bundle
    named = ", ".join(f"{name} {value}" for name, value in settings.items())
    return f"bundle {bundle.sha256[:12]}…, variant {bundle.variant}, alpha {identity.alpha:g}, {named}"
