"""What is named (folders, globs, lists, Parquet files, WebDataset tars, addresses) as a stream of inputs."""

from __future__ import annotations

import glob
import hashlib
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from protoleak.errors import MediaError, ProtoleakError, shortened
from protoleak.images.discover import IMAGE_SUFFIXES, VIDEO_SUFFIXES, left_out, matching, walk
from protoleak.serving.corpus.filesystems import (
    BUFFER,
    absolute,
    is_address,
    open_binary,
    opened,
    shown,
    suffix,
)
from protoleak.serving.corpus.parquet_images import EMPTY, ParquetImages

LIST_SUFFIXES = frozenset({".txt", ".lst", ".list"})
PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
TAR_SUFFIX = ".tar"
PACKED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")

Kind: TypeAlias = Literal["file", "member", "row", "error", "skipped"]


class Input(msgspec.Struct, frozen=True):
    """One image that is to be judged, or why there is none in its place.

    Attributes:
        kind: a file by itself; a member of a tar; a row of a Parquet file; what could not be listed, or was left out.
        source: what the record calls it: the path as given, TAR#member, or PARQUET#row.
        path: of the file, the tar or the Parquet file, as any worker finds it; bytes, since a name need not be UTF-8.
        start: the first byte of a member, or the number of a row.
        size: bytes of a member.
        reason: why there is none.
    """

    kind: Kind
    source: str
    path: bytes = b""
    start: int = 0
    size: int = 0
    reason: str | None = None


def inputs_of(sources: Iterable[str], out: Path, column: str | None) -> Iterator[Input]:
    """The inputs of all sources in a stable order, each file, member and row once.

    Args:
        sources: files, folders, globs, addresses; by their suffix lists of paths, Parquet files and tars.
        out: the folder of results, which may lie in no folder that is read.
        column: of Parquet files, with paths or with encoded images; None to look for one.

    Raises:
        ProtoleakError: the results would lie among the sources.
    """
    seen: set[bytes] = set()
    for source in sources:
        for found in _of_source(source, out, column):
            if found.kind in ("file", "member", "row"):
                key = hashlib.blake2b(found.path + b"\0%d" % found.start, digest_size=16).digest()
                if key in seen:
                    continue
                seen.add(key)
            yield found


def _of_source(source: str, out: Path, column: str | None) -> Iterator[Input]:
    try:
        if is_address(source):
            yield from _of_address(source, column)
        elif Path(source).is_dir():
            if out.resolve().is_relative_to(Path(source).resolve()):
                raise ProtoleakError(f"--out {out} lies in {source}, which is read: give a folder elsewhere")
            yield from _of_folder(source, column)
        elif glob.has_magic(source) and not os.path.lexists(source):
            matches = matching(source)
            if not matches:
                raise MediaError(f"{_name(source)}: no file matches this pattern")
            for match in matches:
                yield from _of_folder(match, column) if Path(match).is_dir() else _of_file(match, column)
        else:
            yield from _of_file(source, column)
    except MediaError as error:
        yield Input("error", shown(source), reason=str(error))


def _of_folder(folder: str, column: str | None) -> Iterator[Input]:
    problems: list[OSError] = []
    paths = sorted(walk(folder, problems.append))
    for problem in problems:
        name = str(problem.filename)
        reason = f"{_name(name)}: cannot be read: {(problem.strerror or '').lower()}"
        yield Input("error", shown(name), reason=reason)
    if not paths and not problems:
        raise MediaError(f"{_name(folder)}: a folder without a file in it")
    yield from _of_found(paths, column)


def _of_address(address: str, column: str | None) -> Iterator[Input]:
    files, inside = opened(address)
    plain, mark, query = address.partition("?")
    start = plain[: len(plain) - len(inside)]
    try:
        if glob.has_magic(inside):
            names = sorted(files.glob(inside))
        elif files.isdir(inside):
            names = sorted(files.find(inside))
        else:
            yield from _of_file(address, column)
            return
    except OSError as error:
        raise MediaError(f"{_name(address)}: cannot be listed: {' '.join(str(error).split())}") from error
    if not names:
        raise MediaError(f"{_name(address)}: no file is there")
    yield from _of_found((f"{start}{name}{mark}{query}" for name in names), column)


def _of_found(paths: Iterable[str], column: str | None) -> Iterator[Input]:
    """Of files that nobody named one by one: their suffix decides whether they are read."""
    for path in paths:
        kind = suffix(path)
        if kind in IMAGE_SUFFIXES:
            yield _file(path)
        elif kind == TAR_SUFFIX or kind in PARQUET_SUFFIXES:
            yield from _of_file(path, column)
        elif kind not in VIDEO_SUFFIXES:
            yield Input("skipped", shown(path), reason=str(left_out(shown(path))))


def _of_file(path: str, column: str | None) -> Iterator[Input]:
    readers: dict[str, Callable[[], Iterator[Input]]] = {
        **dict.fromkeys(LIST_SUFFIXES, lambda: _of_list(path)),
        **dict.fromkeys(PARQUET_SUFFIXES, lambda: _of_parquet(path, column)),
        TAR_SUFFIX: lambda: _of_tar(path),
    }
    if suffix(path) in readers:
        yield from _contained(path, readers[suffix(path)])
    elif path.partition("?")[0].lower().endswith(PACKED_TARS):
        reason = f"{_name(path)}: a packed tar cannot be read from its middle: unpack it to .tar"
        yield Input("error", shown(path), reason=reason)
    else:
        yield _file(path)


def _contained(path: str, reader: Callable[[], Iterator[Input]]) -> Iterator[Input]:
    """What a list, a Parquet file or a tar holds; one error where it ends early or is none."""
    try:
        yield from reader()
        return
    except MediaError as error:
        reason = str(error)
    except FileNotFoundError:
        reason = f"{_name(path)}: no such file"
    except (OSError, tarfile.TarError, ValueError) as error:  # ValueError: Arrow's errors too
        reason = f"{_name(path)}: cannot be read: {' '.join(str(error).split())}"
    yield Input("error", shown(path), reason=reason)


def _of_list(path: str) -> Iterator[Input]:
    """One path or address a line; relative ones belong to the folder that the command runs in."""
    with open_binary(path) as lines:
        for line in lines:
            if name := os.fsdecode(line.rstrip(b"\r\n")).strip():
                yield _file(name)


def _of_parquet(path: str, column: str | None) -> Iterator[Input]:
    """Rows of encoded images; of a column of paths the files themselves."""
    images = ParquetImages(path, column)
    where = shown(path)
    if not images.holds_paths:
        inside = os.fsencode(absolute(path))
        yield from (Input("row", f"{where}#{row}", inside, row) for row in range(images.rows))
        return
    for row, name in enumerate(images.paths()):
        yield _file(name) if name else Input("error", f"{where}#{row}", reason=f"{where}#{row}: {EMPTY}")


def _of_tar(path: str) -> Iterator[Input]:
    """The images of a WebDataset shard; what else its samples hold, such as labels, is no input."""
    found = False
    with open_binary(path, BUFFER) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # it keeps every member, for a million of them a gigabyte
            if member.isreg() and suffix(member.name) in IMAGE_SUFFIXES:
                found = True
                source = f"{shown(path)}#{shown(member.name)}"
                yield Input("member", source, os.fsencode(absolute(path)), member.offset_data, member.size)
    if not found:
        raise MediaError(f"{_name(path)}: a tar without an image in it")


def _file(path: str) -> Input:
    return Input("file", shown(path), os.fsencode(absolute(path)))


def _name(path: str) -> str:
    """In messages."""
    return shortened(shown(path))
