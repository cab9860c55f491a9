"""How the zoo's images are stored: alike in everything but the image.

Same codec, quality, chroma sampling, size, marker sequence and length for every file, so that nothing but pixels can
tell one class from another. The length is levelled with two comment segments, which decoders skip.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

QUALITY = 95
FILE_LENGTH = 128 * 1024  # of every file; portraits of this size take a quarter of it, foliage most of it
START_OF_IMAGE, COMMENT = b"\xff\xd8", b"\xff\xfe"
SEGMENT_HEADER = 4  # marker and length
LONGEST_SEGMENT = 2 + 0xFFFF


def write_image(image: npt.NDArray[np.uint8], path: Path) -> None:
    """Writes uint8 [h, w, 3] as JPEG of `FILE_LENGTH` bytes without metadata."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(levelled(buffer.getvalue(), FILE_LENGTH))


def levelled(jpeg: bytes, length: int) -> bytes:
    """The same JPEG with two comment segments of zeros after its start marker, `length` bytes in all.

    Raises:
        ValueError: it is too long already, or so short that two segments don't fill it up.
    """
    missing = length - len(jpeg)
    if not 2 * SEGMENT_HEADER <= missing <= 2 * LONGEST_SEGMENT:
        raise ValueError(f"a JPEG of {len(jpeg)} bytes can't be levelled to {length}: choose another length")
    first = missing // 2
    padding = b"".join(
        COMMENT + (size - 2).to_bytes(2, "big") + bytes(size - SEGMENT_HEADER) for size in (first, missing - first)
    )
    # After the JFIF header, which must come first.
    header_end = 4 + int.from_bytes(jpeg[4:6], "big") if jpeg[2:4] == b"\xff\xe0" else len(START_OF_IMAGE)
    return jpeg[:header_end] + padding + jpeg[header_end:]
