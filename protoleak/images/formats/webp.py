"""WebP: the size from its header, before libwebp makes room for it, and what the file's own lengths say is missing."""

from __future__ import annotations

import struct

from protoleak.errors import MediaError
from protoleak.images.formats.base import Declared, check_metadata, check_parts, first_zeros

PIXELS = (b"VP8 ", b"VP8L", b"ALPH")
# Zero bytes in a row. VP8's arithmetic code has no wrong bits, so that libwebp never warns; a run of this length would
# stand for a flat area of many megapixels.
ERASED = 1024


def examine(data: bytes) -> Declared:
    """Size and chunks.

    Raises:
        MediaError: the file ends early, space in it was erased, or there is more metadata than in any image.
    """
    said = 8 + int.from_bytes(data[4:8], "little")
    if said > len(data) + 1:  # some writers count the padding of the last chunk and leave it out
        raise MediaError("truncated: the file ends before the image does")
    sizes: list[tuple[int, int]] = []
    place, count, metadata = 12, 0, 0
    while place + 8 <= len(data):
        kind, length = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        begin, end = place + 8, place + 8 + length
        count += 1
        check_parts(count, "chunks")
        if kind == b"ANMF":  # its own chunks follow its 16 bytes of header
            place = begin + 16
            continue
        if end > len(data):
            raise MediaError("truncated: the file ends before the image does")
        if kind in PIXELS:
            at = first_zeros(data, begin, end, ERASED)
            if at is not None:
                raise MediaError(f"damaged: a part of it was erased ({ERASED} zero bytes or more at {at})")
        elif kind in (b"ICCP", b"EXIF", b"XMP "):
            metadata += length
            check_metadata(metadata, "EXIF, XMP and profiles")
        size = _size(kind, data[begin : begin + 10])
        if size is not None:
            sizes.append(size)
        place = end + (length & 1)
    width, height = max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
    return Declared(width, height, 12.0)


def _size(kind: bytes, head: bytes) -> tuple[int, int] | None:
    """Width and height that a chunk states, if it does."""
    if kind == b"VP8X" and len(head) == 10:
        return 1 + int.from_bytes(head[4:7], "little"), 1 + int.from_bytes(head[7:10], "little")
    if kind == b"VP8 " and len(head) == 10 and head[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", head[6:10])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and len(head) >= 5 and head[0] == 0x2F:
        bits = int.from_bytes(head[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None
