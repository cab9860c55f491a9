"""The published preprocessing, exactly: RGB, short side to S with Pillow's bilinear filter, centre crop S×S."""

from __future__ import annotations

import numpy as np
from PIL import Image

from protoleak.arrays import UInt8Array


def preprocess(image: Image.Image, size: int) -> UInt8Array:
    """uint8 [S, S, 3], equal byte for byte to torchvision's Resize(S, bilinear, antialias) and CenterCrop(S).

    Pillow filters one axis, rounds to bytes, and filters the other. Up to 12.3 the width always came first; from 13.0
    the order depends on the image's shape, and tall images come out different by one grey level. The two passes
    are asked for one by one here, so that an image gives the same verdict with every Pillow.

    Args:
        image: Pillow image of mode RGB.
        size: S.
    """
    width, height = image.size
    short, long = min(width, height), max(width, height)
    stretched = int(size * long / short)  # torchvision truncates here …
    new_width, new_height = (size, stretched) if width <= height else (stretched, size)
    narrowed = image.resize((new_width, height), Image.Resampling.BILINEAR)
    resized = narrowed.resize((new_width, new_height), Image.Resampling.BILINEAR)
    left, top = round((new_width - size) / 2.0), round((new_height - size) / 2.0)  # … and rounds half to even here
    return np.asarray(resized.crop((left, top, left + size, top + size)))
