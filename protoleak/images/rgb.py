"""Pixels of every mode as 8-bit RGB, the way the published code does it (`Image.convert("RGB")`), with a note."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image

from protoleak.errors import MediaError

SIXTEEN_BIT_LAYOUT = re.compile(r"^(I|L|LA|RGB|RGBA|RGBX|RGBa);16")


def to_rgb(image: Image.Image, sixteen_bit: bool) -> tuple[Image.Image, list[str]]:
    """A decoded image in mode RGB, and a note on each conversion.

    Args:
        sixteen_bit: what `is_sixteen_bit` said before the image was decoded.

    Raises:
        MediaError: its pixels have no agreed range.
    """
    mode = image.mode
    if mode == "F":
        raise MediaError("floating-point pixels have no agreed range: save it with 8 or 16 bits per channel")
    if mode.startswith("I"):
        # Pillow's own conversion clips at 255. The high byte is what it takes of 16-bit RGB, so grey gets the same.
        values = np.asarray(image)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise MediaError("pixels of more than 16 bits: save it with 8 or 16 bits per channel")
        image = Image.fromarray((values >> 8).astype(np.uint8))
        sixteen_bit = True
        mode = "L"
    notes = conversions(mode, sixteen_bit=sixteen_bit, transparency="transparency" in image.info)
    if mode == "RGB":
        return image, notes
    if mode == "P" and "transparency" in image.info:  # Pillow warns about dropping it, which is what is wanted
        image = image.copy()
        del image.info["transparency"]
    if mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[mode])
    return image.convert("RGB"), notes


def conversions(mode: str, *, sixteen_bit: bool = False, transparency: bool = False) -> list[str]:
    """A note on each conversion to RGB.

    Args:
        mode: Pillow's, of the image as it came.
        transparency: whether it has a transparent colour.
    """
    notes = []
    if sixteen_bit:
        notes.append("16-bit values are scaled to 8 bits")
    if mode in ("1", "L", "LA", "La"):
        notes.append("grey is converted to RGB")
    elif mode in ("P", "PA"):
        notes.append("a palette is converted to RGB")
    elif mode not in ("RGB", "RGBA", "RGBa", "RGBX"):
        notes.append(f"{mode} is converted to RGB")
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or transparency:
        notes.append("the alpha channel is dropped")
    return notes


def is_sixteen_bit(image: Image.Image) -> bool:
    """Whether the decoder is about to drop the low byte of 16-bit channels; only known before the image is loaded."""
    for tile in getattr(image, "tile", None) or ():
        arguments = tile[3]
        layout = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
        if isinstance(layout, str) and SIXTEEN_BIT_LAYOUT.match(layout):
            return True
    return False
