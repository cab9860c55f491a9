"""The published preprocessing, exactly: RGB, short side to S with Pillow's bilinear filter, centre crop S×S."""

from __future__ import annotations

import numpy as np
from PIL import Image

from protoleak.runtime.media import UInt8Array


def preprocess(picture: Image.Image, size: int) -> UInt8Array:
    """uint8 [S, S, 3], equal byte for byte to torchvision's Resize(S, bilinear, antialias) and CenterCrop(S).

    Args:
        picture: Pillow image of mode RGB.
        size: S.
    """
    width, height = picture.size
    short, long = min(width, height), max(width, height)
    stretched = int(size * long / short)  # torchvision truncates here …
    width, height = (size, stretched) if width <= height else (stretched, size)
    resized = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2.0), round((height - size) / 2.0)  # … and rounds half to even here
    return np.asarray(resized.crop((left, top, left + size, top + size)))
