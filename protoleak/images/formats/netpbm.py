"""PBM, PGM, PPM: headers of bounded length; what Pillow decodes number by number is bounded too."""

from __future__ import annotations

import re

from protoleak.errors import MediaError
from protoleak.images.formats.base import MEGABYTE, Declared

HEADER = 64 * 1024  # bytes, comments included: Pillow reads them one by one
TOKEN = re.compile(rb"(?:\s|#[^\n\r]*[\n\r])*([^\s#]+)")
MAXIMUM_PLAIN = 8 * MEGABYTE  # of a file in which numbers are written as text
MAXIMUM_NUMBERS = 6_000_000  # of a file whose largest number isn't 255
PLAIN, BITMAPS = (b"P1", b"P2", b"P3"), (b"P1", b"P4")
CHANNELS = {b"P3": 3, b"P6": 3}


def examine(data: bytes) -> Declared:
    """Size and largest number.

    Raises:
        MediaError: the header is longer than any, or the numbers are too many to read them one by one.
    """
    kind = data[:2]
    if kind in PLAIN and len(data) > MAXIMUM_PLAIN:
        raise MediaError(
            f"{len(data) / MEGABYTE:.0f} MB of numbers as text, more than the {MAXIMUM_PLAIN // MEGABYTE} allowed: "
            "save it in binary form or as PNG"
        )
    place, numbers = 2, list[int]()
    while len(numbers) < (2 if kind in BITMAPS else 3):
        found = TOKEN.match(data, place, HEADER)
        if found is None or not found[1][:10].isdigit():
            if found is None and len(data) > HEADER:
                raise MediaError(f"damaged: a header of more than {HEADER // 1024} kB")
            return Declared()  # Pillow says what it is
        numbers.append(int(found[1][:10]))
        place = found.end()
    width, height, largest = (*numbers, 255)[:3]
    count = width * height * CHANNELS.get(kind, 1)
    is_fast = largest == 255 or (largest == 65535 and kind == b"P5")
    if not is_fast and count > MAXIMUM_NUMBERS:
        raise MediaError(
            f"{count} numbers of another range than 0 to 255, more than the {MAXIMUM_NUMBERS} allowed: save it with 8 "
            "bits per channel or as PNG"
        )
    return Declared(width, height, 7.0)
