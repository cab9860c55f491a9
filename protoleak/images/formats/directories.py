"""Directories of TIFF 6.0 and BigTIFF, and of EXIF and MPF, which have the same form: what they hold is counted."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from protoleak.errors import MediaError
from protoleak.images.formats.base import MAXIMUM_METADATA, check_parts

# Bytes of one value, by type.
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
WHOLE = {3: "H", 4: "L", 8: "h", 9: "l", 13: "L", 16: "Q", 17: "q", 18: "Q"}  # SHORT, LONG, IFD, LONG8 and signed ones
INNER = (0x8769, 0x8825, 0xA005)  # of a camera's settings, of its position
MAXIMUM_VALUES = 500_000  # numbers in one directory: Pillow makes a Python object of each


@dataclass(frozen=True)
class Entry:
    """Type and number of an entry's values, and where they stand."""

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
        self._inner: list[Entry] = []  # that lead to further directories
        self._big = 43 in data[2:4]
        self.first = self._number(8 if self._big else 4, "Q" if self._big else "L")

    def read(self, place: int) -> tuple[dict[int, Entry], int]:
        """The entries of the directory at a place, by tag, and the place of the next one; 0 where there is none.

        Raises:
            MediaError: it lies outside the file, or holds more than an image has.
        """
        data, size = self._data, 20 if self._big else 12
        count = self._number(place, "Q" if self._big else "H")
        check_parts(count, "entries in a directory")
        begin = place + (8 if self._big else 2)
        if begin + count * size > len(data):
            raise MediaError("truncated: the file ends before its directory does")
        entries: dict[int, Entry] = {}
        total = values = 0
        inside = 8 if self._big else 4
        for at in range(begin, begin + count * size, size):
            tag, kind = struct.unpack_from(self._order + "HH", data, at)
            number = self._number(at + 4, "Q" if self._big else "L")
            if kind not in SIZES or not number:  # decoders pass over it
                continue
            length = SIZES[kind] * number
            where = at + (12 if self._big else 8)
            if length > inside:
                where = self._number(where, "Q" if self._big else "L")
                total += min(length, max(0, len(data) - where))
                values += 0 if SIZES[kind] == 1 else number
            found = Entry(kind, number, where)
            entries.setdefault(tag, found)  # the first holds in libtiff and new Pillows; in old ones, the last
            if tag in INNER:
                self._inner.append(found)
        if total > MAXIMUM_METADATA + len(data) or values > MAXIMUM_VALUES:
            raise MediaError("its directory holds more than any image's: refused before decoding; save it anew")
        after = begin + count * size
        return entries, self._number(after, "Q" if self._big else "L") if after + inside <= len(data) else 0

    def check_inner(self) -> None:
        """Looks at the directories that those which were read lead to; decoders read them with these. One that cannot
        be read is no damage to the image.

        Raises:
            MediaError: one holds more than an image has.
        """
        for entry in tuple(self._inner):
            for place in self.values(entry):
                with _but_refusals():
                    self.read(place)

    def values(self, entry: Entry | None) -> list[int]:
        """The numbers of an entry of whole numbers of more than a byte; none of other types."""
        letter = WHOLE.get(entry.kind) if entry else None
        if entry is None or letter is None or entry.place + entry.count * SIZES[entry.kind] > len(self._data):
            return []
        return list(struct.unpack_from(f"{self._order}{entry.count}{letter}", self._data, entry.place))

    def _number(self, place: int, letter: str) -> int:
        if place + struct.calcsize("=" + letter) > len(self._data):
            raise MediaError("truncated: the file ends before its directory does")
        number: int = struct.unpack_from(self._order + letter, self._data, place)[0]
        return number


def check_exif(data: bytes) -> None:
    """Looks at the directories of an EXIF block that Pillow reads; one that cannot be read is no damage to the image.

    Raises:
        MediaError: it holds more than an image's.
    """
    with _but_refusals():
        directories = Directories(data.removeprefix(b"Exif\0\0"))
        directories.read(directories.first)
        directories.check_inner()


@contextlib.contextmanager
def _but_refusals() -> Iterator[None]:
    """Suppresses what is said of damage."""
    try:
        yield
    except MediaError as error:
        if "refused" in str(error):
            raise
