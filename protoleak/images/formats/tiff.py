"""TIFF 6.0, BigTIFF, and the directories of EXIF, which have the same form: entries, pages and strips counted."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from protoleak.errors import MediaError
from protoleak.images.formats.base import MAXIMUM_FRAMES, MAXIMUM_METADATA, Claims, check_parts

# Bytes of one value, by type.
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
WIDTH, HEIGHT, COMPRESSION, STRIP_OFFSETS, STRIP_SIZES = 0x100, 0x101, 0x103, 0x111, 0x117
TILE_OFFSETS, TILE_SIZES, JPEG_TABLES = 0x144, 0x145, 0x15B
NEW_JPEG = 7
MAXIMUM_VALUES = 500_000  # numbers in one directory: Pillow makes a Python object of each


@dataclass(frozen=True)
class _Entry:
    kind: int
    count: int
    place: int


class Directories:
    """Reads the directories of a TIFF or EXIF block.

    Raises:
        MediaError: it isn't one.
    """

    def __init__(self, data: bytes) -> None:
        order = {b"II": "<", b"MM": ">"}.get(data[:2])
        if order is None or len(data) < 8:
            raise MediaError("damaged: its header is none of a TIFF")
        self._data, self._order = data, order
        self._big = 43 in data[2:4]
        self.first = self._number(8 if self._big else 4, "Q" if self._big else "L")

    def read(self, place: int) -> tuple[dict[int, _Entry], int]:
        """The entries of the directory at a place, by tag, and the place of the next one; 0 where there is none.

        Raises:
            MediaError: it lies outside the file, or holds more than a picture has.
        """
        data, size = self._data, 20 if self._big else 12
        count = self._number(place, "Q" if self._big else "H")
        check_parts(count, "entries in a directory")
        begin = place + (8 if self._big else 2)
        if begin + count * size > len(data):
            raise MediaError("truncated: the file ends before its directory does")
        entries: dict[int, _Entry] = {}
        total = values = 0
        inside = 8 if self._big else 4
        for at in range(begin, begin + count * size, size):
            tag, kind = struct.unpack_from(self._order + "HH", data, at)
            number = self._number(at + 4, "Q" if self._big else "L")
            length = SIZES.get(kind, 1) * number
            where = at + (12 if self._big else 8)
            if length > inside:
                where = self._number(where, "Q" if self._big else "L")
                total += min(length, max(0, len(data) - where))
                values += 0 if SIZES.get(kind, 1) == 1 else number
            entries[tag] = _Entry(kind, number, where)
        if total > MAXIMUM_METADATA + len(data) or values > MAXIMUM_VALUES:
            raise MediaError("its directory holds more than any picture's: refused before decoding; save it anew")
        after = begin + count * size
        return entries, self._number(after, "Q" if self._big else "L") if after + inside <= len(data) else 0

    def values(self, entry: _Entry | None) -> list[int]:
        """The numbers of an entry of type SHORT, LONG or LONG8; none of other types."""
        letter = {3: "H", 4: "L", 16: "Q"}.get(entry.kind) if entry else None
        if entry is None or letter is None or entry.place + entry.count * SIZES[entry.kind] > len(self._data):
            return []
        return list(struct.unpack_from(f"{self._order}{entry.count}{letter}", self._data, entry.place))

    def _number(self, place: int, letter: str) -> int:
        if place + struct.calcsize("=" + letter) > len(self._data):
            raise MediaError("truncated: the file ends before its directory does")
        number: int = struct.unpack_from(self._order + letter, self._data, place)[0]
        return number


def check_exif(data: bytes) -> None:
    """Looks at the first directory of an EXIF block, which is all that Pillow reads of it here; one that cannot be read
    is no damage to the image.

    Raises:
        MediaError: it holds more than a picture's.
    """
    try:
        directories = Directories(data.removeprefix(b"Exif\0\0"))
        directories.read(directories.first)
    except MediaError as error:
        if "refused" in str(error):
            raise


def examine(data: bytes) -> Claims:
    """Size, pages, strips; the JPEG strips in it are decoded.

    Raises:
        MediaError: there is more of something than in any picture, or a strip is damaged.
    """
    directories = Directories(data)
    first, place = directories.read(directories.first)
    width, height = (next(iter(directories.values(first.get(tag))), 0) for tag in (WIDTH, HEIGHT))
    pages, seen = 1, {directories.first}
    while place and place not in seen and pages <= MAXIMUM_FRAMES:
        seen.add(place)
        pages += 1
        _, place = directories.read(place)
    if next(iter(directories.values(first.get(COMPRESSION))), 1) == NEW_JPEG:
        _check_jpeg_parts(data, directories, first)
    return Claims(width, height, 7.0, min(pages, MAXIMUM_FRAMES), pages > MAXIMUM_FRAMES)


def _check_jpeg_parts(data: bytes, directories: Directories, first: dict[int, _Entry]) -> None:
    """Each strip or tile is a JPEG without its tables, which stand in the directory."""
    from protoleak.images.formats import jpeg

    table = first.get(JPEG_TABLES)
    shared = data[table.place + 2 : table.place + table.count - 2] if table is not None and table.count > 4 else b""
    offsets, sizes = (
        directories.values(first.get(one)) or directories.values(first.get(other))
        for one, other in ((STRIP_OFFSETS, TILE_OFFSETS), (STRIP_SIZES, TILE_SIZES))
    )
    for offset, size in zip(offsets, sizes, strict=False):
        part = data[offset : offset + size]
        if len(part) < size:
            raise MediaError("truncated: the file ends before the image does")
        whole = part[:2] + shared + part[2:]
        jpeg.examine(whole)
        jpeg.check_decoding(whole)
