"""Pillow's bilinear resize of one axis, to the byte, and faster where the axis shrinks by a small whole number.

Pillow computes each output pixel by itself, in scalar fixed-point arithmetic. Where an axis shrinks by a whole number r
(512 → 256, 1024 → 256: the usual sizes of generators) all output pixels but the outermost have the same weights, so
that whole numbers and the vector units can be used: `images.halving` has r = 2, `images.shrinking` 3 and 4, and why
that gives the same bytes.

With r = 6 there are halves that the rounding of Pillow's own weights decides. Like every other ratio it is left to
Pillow. OpenCV's own way to reduce images (INTER_AREA) has other weights.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from protoleak.arrays import UInt8Array
from protoleak.images.halving import halved_height, halved_width
from protoleak.images.shrinking import shrunk_height, shrunk_width

FACTORS = (2, 3, 4)
ENDS = 4  # output pixels at either end of an axis that Pillow computes, to take the outermost of them

Axis = Literal[0, 1]  # height, width
RgbImage: TypeAlias = "Image.Image | UInt8Array"  # of mode RGB, or uint8 [H, W, 3]


def resize_axis(image: RgbImage, axis: Axis, length: int) -> RgbImage:
    """Resizes one axis as `Image.resize` with the bilinear filter does.

    Args:
        axis: 0 for the height, 1 for the width.
        length: of that axis in the result, at least 1.

    Returns:
        The image as Pillow or an array, so that nothing is copied twice; `image` itself where nothing changes.
    """
    height, width = size_of(image)
    before = height if axis == 0 else width
    if length == before:
        return image
    factor, rest = divmod(before, length)
    if rest or factor not in FACTORS or length < ENDS:
        size = (width, length) if axis == 0 else (length, height)
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        return image.resize(size, Image.Resampling.BILINEAR)
    if factor > 2:
        return _shrunk(np.asarray(image), axis, factor)
    return halved_width(np.asarray(image)) if axis == 1 else halved_height(np.asarray(image))


def size_of(image: RgbImage) -> tuple[int, int]:
    """Height and width."""
    return (image.height, image.width) if isinstance(image, Image.Image) else (image.shape[0], image.shape[1])


def cut_out(image: RgbImage, rows: slice, columns: slice) -> RgbImage:
    """A rectangle inside the image."""
    if isinstance(image, Image.Image):
        return image.crop((columns.start, rows.start, columns.stop, rows.stop))
    return image[rows, columns]


def _shrunk(pixels: UInt8Array, axis: Axis, factor: int) -> UInt8Array:
    """By 3 or 4, to at least ENDS pixels."""
    near = ENDS * factor
    if axis == 1:
        shrunk = shrunk_width(pixels, factor)
        ends = np.concatenate([pixels[:, :near], pixels[:, -near:]], axis=1)
        resized = Image.fromarray(ends).resize((2 * ENDS, pixels.shape[0]), Image.Resampling.BILINEAR)
        shrunk[:, [0, -1]] = np.asarray(resized)[:, [0, -1]]
    else:
        shrunk = shrunk_height(pixels, factor)
        ends = np.concatenate([pixels[:near], pixels[-near:]])
        resized = Image.fromarray(ends).resize((pixels.shape[1], 2 * ENDS), Image.Resampling.BILINEAR)
        shrunk[[0, -1]] = np.asarray(resized)[[0, -1]]
    return shrunk
