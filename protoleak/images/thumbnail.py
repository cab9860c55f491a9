"""Small images of files for pages that load nothing."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from protoleak.errors import MediaError
from protoleak.images.open import open_image


def thumbnail_uri(path: Path, side: int, quality: int = 85) -> str | None:
    """A `data:` URI of a JPEG with no side longer than `side` pixels; None for a file that cannot be read (any more).

    Args:
        quality: of the JPEG.
    """
    try:
        image = open_image(path, upright=True).image
    except MediaError:
        return None
    image.thumbnail((side, side))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}"
