"""The published preprocessing, exactly: RGB, short side to S with Pillow's bilinear filter, centre crop S×S."""

from __future__ import annotations

import math

import numpy as np

from protoleak.arrays import UInt8Array
from protoleak.images.halving import LEAST, halved
from protoleak.images.resize import RgbImage, cut_out, resize_axis, size_of


def preprocess(image: RgbImage, size: int) -> UInt8Array:
    """uint8 [S, S, 3], equal byte for byte to torchvision's Resize(S, bilinear, antialias) and CenterCrop(S).

    Pillow filters one axis, rounds to bytes, and filters the other. Up to 12.3 the width always came first; from 13.0
    the order depends on the image's shape, and tall images come out different by one grey level. The two passes
    are asked for one by one here, so that an image gives the same verdict with every Pillow. What the crop leaves out
    is left out as early as the bytes allow: columns before the height is resized, rows that no filter reaches before
    the width is.

    Args:
        image: Pillow image of mode RGB, or uint8 [H, W, 3].
        size: S.

    Returns:
        A part of `image` itself where it is an array and nothing is resized.
    """
    height, width = size_of(image)
    short, long = min(width, height), max(width, height)
    stretched = int(size * long / short)  # torchvision truncates here …
    new_width, new_height = (size, stretched) if width <= height else (stretched, size)
    left, top = round((new_width - size) / 2.0), round((new_height - size) / 2.0)  # … and rounds half to even here
    if (width, height) == (2 * new_width, 2 * new_height) and min(new_width, new_height) >= LEAST:
        return _crop_of_half(np.asarray(image), top, left, size)
    columns = slice(left, left + size)
    first, last = _rows_seen(height, new_height, top, size)
    if last - first == height:
        narrowed = cut_out(resize_axis(image, 1, new_width), slice(0, height), columns)
    else:  # where a row lies decides its weights: the rows that aren't seen must be there, whatever is in them
        seen = cut_out(image, slice(first, last), slice(0, width))
        narrowed = np.empty((height, size, 3), np.uint8)
        narrowed[first:last] = np.asarray(resize_axis(seen, 1, new_width))[:, columns]
    return np.asarray(cut_out(resize_axis(narrowed, 0, new_height), slice(top, top + size), slice(0, size)))


def _crop_of_half(pixels: UInt8Array, top: int, left: int, size: int) -> UInt8Array:
    """The square of that size at that place of the image's half. Where the square doesn't reach to the image's border,
    one pixel more is computed: the outermost have weights of their own."""
    height, width = pixels.shape[:2]
    above, before = min(top, 1), min(left, 1)
    seen = pixels[
        2 * (top - above) : min(height, 2 * (top + size + 1)), 2 * (left - before) : min(width, 2 * (left + size + 1))
    ]
    return halved(seen)[above : above + size, before : before + size]


def _rows_seen(height: int, new_height: int, top: int, size: int) -> tuple[int, int]:
    """The rows that the filter of the height reaches for the output rows from `top` on, and a row or two more."""
    scale = height / new_height
    reach = max(scale, 1.0) + 1
    first, last = math.floor(top * scale - reach), math.ceil((top + size) * scale + reach)
    return max(0, first), min(height, last)
