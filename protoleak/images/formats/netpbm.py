"""PBM, PGM, PPM and what Pillow reads beside them: headers of bounded length; what it decodes number by number is
bounded too."""

from __future__ import annotations

import re

from protoleak.errors import MediaError
from protoleak.images.formats.base import MEGABYTE, Declared

HEADER = 64 * 1024  # bytes, comments included: Pillow reads them one by one
COMMENT = rb"#[^\n\r]*(?:[\n\r]|$)"
MAGIC = re.compile(rb"\S{1,6}")
TOKEN = re.compile(rb"(?:\s|" + COMMENT + rb")*([^\s#](?:[^\s#]|" + COMMENT + rb")*)")  # a comment may stand inside
MAXIMUM_PLAIN = 8 * MEGABYTE  # of a file in which numbers are written as text
MAXIMUM_NUMBERS = 6_000_000  # of a file whose largest number isn't 255
PLAIN, BITMAPS, FLOATS = (b"P1", b"P2", b"P3"), (b"P1", b"P4"), (b"Pf",)
# Kind → numbers of a pixel; what isn't here Pillow doesn't read.
CHANNELS = dict.fromkeys((b"P1", b"P2", b"P4", b"P5", b"Pf", b"PyP"), 1) | {b"P3": 3, b"P6": 3}
CHANNELS |= dict.fromkeys((b"P0CMYK", b"PyCMYK", b"PyRGBA"), 4)


def examine(data: bytes) -> Declared:
    """Size and largest number.

    Raises:
        MediaError: the header is longer than any or holds something else than numbers, or the numbers behind it are too
            many to read them one by one.
    """
    magic = MAGIC.match(data)
    kind = magic[0] if magic else b""
    if kind not in CHANNELS:
        return Declared()
    if kind in PLAIN and len(data) > MAXIMUM_PLAIN:
        raise MediaError(
            f"{len(data) / MEGABYTE:.0f} MB of numbers as text, more than the {MAXIMUM_PLAIN // MEGABYTE} allowed: "
            "save it in binary form or as PNG"
        )
    place, numbers = len(kind), list[int]()
    while len(numbers) < (2 if kind in BITMAPS else 3):
        found = TOKEN.match(data, place, HEADER)
        if found is None and len(data) > HEADER:
            raise MediaError(f"damaged: a header of more than {HEADER // 1024} kB")
        token = b"" if found is None else re.sub(COMMENT, b"", found[1])
        if kind in FLOATS and len(numbers) == 2 and found is not None:
            break  # a factor
        if found is None or len(token) > 10 or not token.isdigit():  # Pillow would take +5 and 5_0 for numbers
            raise MediaError("damaged: its header holds something else than numbers")
        numbers.append(int(token))
        place = found.end()
    width, height, largest = (*numbers, 255)[:3]
    count = width * height * CHANNELS[kind]
    is_fast = largest == 255 or (largest == 65535 and kind == b"P5")
    if not is_fast and count * (1 if largest < 256 else 2) > MAXIMUM_NUMBERS:  # those of two bytes take twice as long
        raise MediaError(
            f"{count} numbers of another range than 0 to 255, more than the {MAXIMUM_NUMBERS} bytes allowed: save it "
            "with 8 bits per channel or as PNG"
        )
    return Declared(width, height, 7.0)
