"""PNG: chunks counted, and their checksums compared, which Pillow leaves out for the image's own data."""

from __future__ import annotations

import struct
import zlib

from protoleak.errors import MediaError
from protoleak.images.formats.base import MEGABYTE, Declared, check_cost, check_metadata, check_parts
from protoleak.images.formats.directories import check_exif

CHANNELS = {2: 3, 4: 2, 6: 4}  # of the colour types with more than one
PALETTE = 3  # colour type
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
CHUNK = MEGABYTE  # of rows that are in memory at a time


def examine(data: bytes) -> Declared:
    """Size and chunks.

    Raises:
        MediaError: the file ends early, a checksum is wrong, or there are more chunks or metadata than in any image.
    """
    place, count, metadata = 8, 0, 0
    width = height = 0
    rows: _Rows | None = None
    has_palette = False
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        kind = data[place + 4 : place + 8]
        end = place + 12 + length
        count += 1
        check_parts(count, "chunks")
        if end > len(data):
            raise MediaError("truncated: the file ends before the image does")
        if kind == b"IHDR":
            if length != 13:
                raise MediaError(f"damaged: its header has {length} bytes where 13 are needed")
            width, height = struct.unpack_from(">II", data, place + 8)
            check_cost(Declared(width, height), len(data))
            rows = _Rows(data[place + 8 : place + 21])
        if kind[:1].isupper():  # the image cannot do without it
            found = zlib.crc32(memoryview(data)[place + 4 : end - 4])
            if found != int.from_bytes(data[end - 4 : end], "big"):
                name = kind.decode("ascii", "backslashreplace")
                raise MediaError(f"damaged: the checksum of its {name} chunk at {place} is wrong")
            if kind == b"PLTE":
                has_palette = True
            if kind == b"IDAT" and rows is not None:
                if rows.needs_palette and not has_palette:
                    raise MediaError("damaged: its palette is missing")
                rows.add(memoryview(data)[place + 8 : end - 4])
        elif kind != b"fdAT":
            metadata += length
            check_metadata(metadata, "text, profiles and other chunks")
            if kind == b"eXIf":
                check_exif(data[place + 8 : end - 4])
        if kind == b"IEND":
            break
        place = end
    if rows is not None:
        rows.check_whole()
    return Declared(width, height)


class _Rows:
    """Counts what the compressed rows of a PNG hold: a stream may end early in good order, and Pillow then leaves the
    rest of the image black.

    Args:
        header: the 13 bytes of IHDR.

    Attributes:
        needs_palette: whether its pixels are indices.
    """

    def __init__(self, header: bytes) -> None:
        width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
        self.needs_palette = colour == PALETTE
        bits = depth * CHANNELS.get(colour, 1)
        passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
        sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes]
        self._missing = sum((1 + (wide * bits + 7) // 8) * high for wide, high in sizes if wide > 0 and high > 0)
        self._reader = zlib.decompressobj()

    def add(self, data: memoryview) -> None:
        """The next part of the stream.

        Raises:
            MediaError: it is damaged.
        """
        rest: memoryview | bytes = data
        try:
            while rest and self._missing > 0 and not self._reader.eof:
                self._missing -= len(self._reader.decompress(rest, CHUNK))
                rest = self._reader.unconsumed_tail
        except zlib.error as error:
            raise MediaError(f"damaged: {error}") from None

    def check_whole(self) -> None:
        """Raises MediaError where rows are missing."""
        if self._missing > 0:
            self._missing -= len(self._reader.flush())
        if self._missing > 0:
            raise MediaError("truncated: the file ends before the image does")
