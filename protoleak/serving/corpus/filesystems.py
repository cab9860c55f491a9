"""Local paths and addresses (s3://, gs://, hdfs://, http://, …) behind one interface: that of fsspec.

Stores that PyArrow reads by itself go through PyArrow, so that the extra `corpus` is enough for them; the rest through
whatever fsspec has installed.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast

from protoleak.errors import MediaError, shortened
from protoleak.image_records import source_name
from protoleak.images.sources import read_file

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

PYARROW_PROTOCOLS = frozenset({"s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss"})
BUFFER = 4 * 2**20  # bytes that are fetched together where a remote tar is walked through


def is_address(source: str) -> bool:
    """Whether it has a scheme, as s3://bucket/key does; `data:` URIs are no addresses."""
    return "://" in source


def shown(path: str) -> str:
    """What the record calls a file. Of an address without user, password and query, in which secrets may stand."""
    if not is_address(path):
        return source_name(path)
    scheme, _, rest = path.partition("://")
    rest, query, _ = rest.partition("?")
    host, slash, inside = rest.partition("/")
    mark = "?…" if query and scheme not in PYARROW_PROTOCOLS else ""
    return source_name(f"{scheme}://{host.rpartition('@')[2]}{slash}{inside}{mark}")


def suffix(path: str) -> str:
    """In small letters, with its dot."""
    return PurePosixPath(path.partition("?")[0] if is_address(path) else path).suffix.lower()


def opened(address: str) -> tuple[AbstractFileSystem, str]:
    """The file system of an address or a local path, and the path in it.

    Raises:
        MediaError: nothing installed opens such an address.
    """
    from fsspec.core import url_to_fs

    scheme, _, rest = address.partition("://")
    try:
        if scheme in PYARROW_PROTOCOLS:
            rest, mark, query = rest.partition("?")
            host, slash, inside = rest.partition("/")
            return _of_pyarrow(f"{scheme}://{host}{mark}{query}"), f"{host.rpartition('@')[2]}{slash}{inside}"
        files, path = url_to_fs(address)
    except (ImportError, ValueError, OSError) as error:
        raise MediaError(f"{shortened(shown(address))}: cannot be opened: {_line(error)}") from error
    return files, path


@cache
def _of_pyarrow(place: str) -> AbstractFileSystem:
    """Of a bucket: opening it may ask the store for the bucket's region, which is enough once."""
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow import fs

    found, _ = fs.FileSystem.from_uri(place)
    return ArrowFSWrapper(found)


def read(path: str) -> bytes:
    """All bytes of a local file or of what an address names.

    Raises:
        MediaError: it cannot be read; without its name.
    """
    if not is_address(path):
        return read_file(path)
    try:
        files, inside = opened(path)
        return cast("bytes", files.cat_file(inside))
    except FileNotFoundError:
        raise MediaError("no such file") from None
    except (OSError, ValueError) as error:
        raise MediaError(f"cannot be read: {_line(error)}") from error


def read_range(path: str, start: int, size: int) -> bytes:
    """Bytes [start, start + size) of a file.

    Raises:
        MediaError: they cannot be read, or end early; without its name.
    """
    try:
        with open_binary(path) as file:
            file.seek(start)
            data = file.read(size)
    except FileNotFoundError:
        raise MediaError("no such file") from None
    except (OSError, ValueError) as error:
        raise MediaError(f"cannot be read: {_line(error)}") from error
    if len(data) != size:
        raise MediaError(f"cut off: {len(data)} of {size} bytes at byte {start}")
    return data


def open_binary(path: str, buffer: int = 0) -> BinaryIO:
    """A file open for reading, in which one may seek.

    Args:
        buffer: bytes that are fetched ahead of an address; 0 for what the file system does by itself.
    """
    if not is_address(path):
        return Path(path).open("rb")
    files, inside = opened(path)
    options = {"block_size": buffer} if buffer else {}
    return cast("BinaryIO", files.open(inside, "rb", **options))


def absolute(path: str) -> str:
    """As a worker in another folder finds it."""
    return path if is_address(path) or path[:5].lower() == "data:" else os.path.abspath(path)  # noqa: PTH100  # keeps links


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
