"""GIF89a: frames counted without decoding them, which Pillow would do."""

from __future__ import annotations

import struct

from protoleak.errors import MediaError
from protoleak.images.formats.base import MAXIMUM_FRAMES, MAXIMUM_PARTS, Declared, check_metadata, check_parts

EXTENSION, IMAGE, END = 0x21, 0x2C, 0x3B
STRAY = 4096  # bytes between blocks, that decoders skip one by one


def examine(data: bytes) -> Declared:
    """Size, the blocks before the first frame, and the number of frames.

    Raises:
        MediaError: more stands before the first frame than in any image.
    """
    if len(data) < 13:
        raise MediaError("truncated: the file ends before the image does")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    place = 13 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)
    frames = blocks = stray = 0
    while place < len(data) and frames <= MAXIMUM_FRAMES and (blocks <= MAXIMUM_PARTS or not frames):
        kind = data[place]
        if kind == IMAGE and place + 10 <= len(data):
            frames += 1
            left, top, wide, high, local = struct.unpack_from("<HHHHB", data, place + 1)
            if frames == 1:  # Pillow enlarges the image to hold it
                width, height = max(width, left + wide), max(height, top + high)
            place += 11 + (3 * 2 ** ((local & 7) + 1) if local & 0x80 else 0)
        elif kind == EXTENSION:
            place += 2
        elif kind == END:
            break
        else:  # stray bytes, that decoders skip
            place, stray = place + 1, stray + 1
            if stray > STRAY:
                if frames:
                    break
                raise MediaError(f"damaged: more than {STRAY} stray bytes before its first frame")
            continue
        while place < len(data) and data[place]:
            place, blocks = place + 1 + data[place], blocks + 1
            if not frames:
                check_parts(blocks, "blocks before its first frame")
                check_metadata(place, "comments")
            elif blocks > MAXIMUM_PARTS:
                break
        place += 1
    more = frames > MAXIMUM_FRAMES or (blocks > MAXIMUM_PARTS and frames > 0)
    return Declared(width, height, 5.0, min(frames, MAXIMUM_FRAMES) or None, more)
