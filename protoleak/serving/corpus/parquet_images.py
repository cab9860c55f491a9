"""Images in Parquet files: a column of paths or addresses, of encoded images, or of both as `datasets` writes them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from protoleak.errors import MediaError, shortened
from protoleak.serving.corpus.filesystems import open_binary, shown

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# Names that are looked for where none is given, in this order.
COLUMNS = ("image", "bytes", "image_bytes", "jpg", "jpeg", "png", "path", "image_path", "file", "file_name", "url")
ROWS_AT_ONCE = 8192
EMPTY = "an empty cell where an image or its path should be"


class ParquetImages:
    """The images of one Parquet file, by row.

    Args:
        path: or address.
        column: None to look for one.

    Attributes:
        rows: how many there are.
        holds_paths: whether the column is of paths and not of encoded images.

    Raises:
        OSError: it cannot be read.
        MediaError: it has no column of images.
    """

    def __init__(self, path: str, column: str | None) -> None:
        import pyarrow.parquet as pq

        self._parquet: pq.ParquetFile = pq.ParquetFile(open_binary(path))
        schema = self._parquet.schema_arrow
        self._column = _column(path, schema, column)
        self.holds_paths = _is_text(schema.field(self._column).type)
        metadata = self._parquet.metadata
        self.rows = int(metadata.num_rows)
        self._ends = np.cumsum([metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)])
        self._group = lru_cache(maxsize=1)(self._read_group)  # a block has rows that follow one another

    def __getitem__(self, row: int) -> bytes | str:
        """The encoded image of a row, or the path of one.

        Raises:
            MediaError: the cell is empty.
        """
        group = int(np.searchsorted(self._ends, row, side="right"))
        before = int(self._ends[group - 1]) if group else 0
        value = self._group(group)[row - before].as_py()
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if not isinstance(value, (bytes, str)) or not value:
            raise MediaError(EMPTY)
        return value

    def paths(self) -> Iterator[str | None]:
        """The column of paths, a few thousand rows at a time; None for an empty cell."""
        for batch in self._parquet.iter_batches(ROWS_AT_ONCE, columns=[self._column]):
            yield from batch.column(0).to_pylist()

    def _read_group(self, index: int) -> pa.ChunkedArray:
        return self._parquet.read_row_group(index, columns=[self._column]).column(0)


def _column(path: str, schema: pa.Schema, wanted: str | None) -> str:
    fit = [field.name for field in schema if _holds_images(field.type)]
    if wanted is not None:
        if wanted in fit:
            return wanted
        have = ", ".join(fit) or "none"
        raise MediaError(f"{shortened(shown(path))}: no column {wanted!r} of paths or images; those there are: {have}")
    for name in COLUMNS:
        if name in fit:
            return name
    raise MediaError(
        f"{shortened(shown(path))}: none of its columns is named as one of images ({', '.join(COLUMNS)}): "
        f"name it with --column; those that could be are: {', '.join(fit) or 'none'}"
    )


def _holds_images(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        return {"bytes", "path"} <= {kind.field(index).name for index in range(kind.num_fields)}
    return _is_text(kind) or types.is_binary(kind) or types.is_large_binary(kind)


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_string(kind) or types.is_large_string(kind))
