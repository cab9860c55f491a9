"""PNG: chunks counted, and their checksums compared, which Pillow leaves out for the image's own data."""

from __future__ import annotations

import struct
import zlib

from protoleak.errors import MediaError
from protoleak.images.formats.base import Declared, check_metadata, check_parts
from protoleak.images.formats.directories import check_exif


def examine(data: bytes) -> Declared:
    """Size and chunks.

    Raises:
        MediaError: the file ends early, a checksum is wrong, or there are more chunks or metadata than in any picture.
    """
    place, count, metadata = 8, 0, 0
    width = height = 0
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        kind = data[place + 4 : place + 8]
        end = place + 12 + length
        count += 1
        check_parts(count, "chunks")
        if kind == b"IHDR" and length >= 8:
            width, height = struct.unpack_from(">II", data, place + 8)
        if end > len(data):
            raise MediaError("truncated: the file ends before the image does")
        if kind[:1].isupper():  # the image cannot do without it
            found = zlib.crc32(memoryview(data)[place + 4 : end - 4])
            if found != int.from_bytes(data[end - 4 : end], "big"):
                name = kind.decode("ascii", "backslashreplace")
                raise MediaError(f"damaged: the checksum of its {name} chunk at {place} is wrong")
        elif kind != b"fdAT":
            metadata += length
            check_metadata(metadata, "text, profiles and other chunks")
            if kind == b"eXIf":
                check_exif(data[place + 8 : end - 4])
        if kind == b"IEND":
            break
        place = end
    return Declared(width, height, 4.0)
