"""A screened image made small, with its faces framed."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TypeAlias

from PIL import ImageDraw

from protoleak.errors import MediaError
from protoleak.faces.base import BoxRecord
from protoleak.images.open import OpenedImage
from protoleak.runtime.verdict import Label
from protoleak.video.outputs.verdict_style import STYLES

OpenImage: TypeAlias = Callable[[str], OpenedImage]

LONGEST_SIDE = 320  # pixels; about 20 kB each
JPEG_QUALITY = 82


def thumbnail(
    path: str, sha256: str | None, boxes: Sequence[tuple[BoxRecord, Label]], open_image: OpenImage
) -> bytes | None:
    """The image as JPEG, each face framed in the colour of its verdict and numbered from 1 on.

    Args:
        path: of the image; it is read once more.
        sha256: of the file that was judged; None for one that was not read.
        boxes: in pixels of the image.
        open_image: opens it as it was opened to be judged: as upright, and in as isolated a place.

    Returns:
        None where there is none: the file cannot be read, or is another one by now.
    """
    if sha256 is None:
        return None
    try:
        opened = open_image(path)
    except MediaError:
        return None
    if opened.sha256 != sha256:
        return None
    small = opened.image
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    scale = small.size[0] / opened.width
    draw = ImageDraw.Draw(small)
    for number, (box, label) in enumerate(boxes, start=1):
        colour = STYLES[label].rgb
        left, top = scale * box.left, scale * box.top
        draw.rectangle((left, top, left + scale * box.width, top + scale * box.height), outline=colour, width=2)
        draw.rectangle((left, top, left + 8 + 6 * len(str(number)), top + 13), fill=colour)
        draw.text((left + 4, top + 1), str(number), fill=(255, 255, 255))
    encoded = io.BytesIO()
    small.save(encoded, "JPEG", quality=JPEG_QUALITY)
    return encoded.getvalue()
