"""BMP: compressed ones are bounded, because Pillow decodes them pixel by pixel."""

from __future__ import annotations

import struct

from protoleak.errors import MediaError
from protoleak.images.formats.base import MEGABYTE, Declared

MAXIMUM_COMPRESSED = 4 * MEGABYTE
MAXIMUM_RUN_PIXELS = 16_000_000
RUN_LENGTHS = (1, 2)  # BI_RLE8, BI_RLE4


def examine(data: bytes) -> Declared:
    """Size and compression.

    Raises:
        MediaError: it is compressed and larger than the limit.
    """
    if len(data) < 34 or int.from_bytes(data[14:18], "little") < 40:
        return Declared()  # an old header, that knows no compression
    width, height = struct.unpack_from("<ii", data, 18)
    runs = int.from_bytes(data[30:34], "little") in RUN_LENGTHS
    if runs and len(data) > MAXIMUM_COMPRESSED:
        raise MediaError(
            f"a run-length BMP of {len(data) / MEGABYTE:.0f} MB, more than the {MAXIMUM_COMPRESSED // MEGABYTE} "
            "allowed: save it uncompressed or as PNG"
        )
    if runs and abs(width * height) > MAXIMUM_RUN_PIXELS:  # one code can stand for a whole row
        raise MediaError(
            f"a run-length BMP of {abs(width * height) / 1e6:.1f} megapixels, above the limit of "
            f"{MAXIMUM_RUN_PIXELS / 1e6:g}: refused before decoding; save it uncompressed or as PNG"
        )
    return Declared(abs(width), abs(height), 7.0)
