"""From an input of the plan to what the screener takes: a named file that is read when it is its turn."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache

from protoleak.errors import MediaError, SkippedInput
from protoleak.images.sources import check_bytes, read_data_uri
from protoleak.serving.corpus.filesystems import read, read_range
from protoleak.serving.corpus.listing import Input
from protoleak.serving.corpus.parquet_images import ParquetImages

OPEN_FILES = 4  # Parquet files that are kept open: a block has rows of one or two


class NamedImage:
    """An encoded image with a name, for messages; read when the screener asks for it, in its decoding threads.

    Attributes:
        name: what messages call it.
    """

    def __init__(self, name: str, read: Callable[[], bytes]) -> None:
        self.name = name
        self._read = read

    def read(self, _: int, /) -> bytes:
        """All of it.

        Raises:
            MediaError: it cannot be read, is empty, or larger than any image; without its name.
        """
        data = self._read()
        if not data:
            raise MediaError("empty, 0 bytes")
        check_bytes(len(data))
        return data


class Reader:
    """Opens inputs in one worker.

    Args:
        column: of Parquet files; None to look for one.
    """

    def __init__(self, column: str | None) -> None:
        self._parquet = lru_cache(maxsize=OPEN_FILES)(lambda path: ParquetImages(path, column))

    def __call__(self, given: Input) -> NamedImage | MediaError:
        """The image of an input, or the error in its place."""
        path = os.fsdecode(given.path)
        if given.kind == "error":
            return MediaError(given.reason or "cannot be listed").about(given.source, None)
        if given.kind == "skipped":
            return SkippedInput(given.reason or "left out").about(given.source, None)
        if given.kind == "member":
            return NamedImage(given.source, lambda: _member(path, given.start, given.size))
        if given.kind == "row":
            return self._row(given, path)
        is_data = path[:5].lower() == "data:"
        return NamedImage(given.source, lambda: read_data_uri(path) if is_data else read(path))

    def _row(self, given: Input, path: str) -> NamedImage | MediaError:
        """The cell at once, and not in a decoding thread: one reader of a Parquet file serves one thread."""
        try:
            cell = self._parquet(path)[given.start]
        except (MediaError, OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            return MediaError(f"{given.source}: {reason}").about(given.source, None)
        return NamedImage(given.source, lambda: read(cell) if isinstance(cell, str) else cell)


def _member(path: str, start: int, size: int) -> bytes:
    check_bytes(size)
    return read_range(path, start, size)
