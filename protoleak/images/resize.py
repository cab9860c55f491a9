"""Pillow's bilinear resize of one axis, to the byte, and faster where the axis shrinks by a small whole number.

Pillow computes each output pixel by itself, in scalar fixed-point arithmetic. Where an axis shrinks by a whole number r
(512 → 256, 1024 → 256: the usual sizes of generators) all output pixels but the outermost have the same weights, so
that the vector units can be used. Why that gives the same bytes:

- r = 2, in whole numbers: see `images.halving`.
- r = 4, by a convolution of OpenCV in float32: weights are whole multiples of 1/(2r²), a power of two, so that every
  product and every sum is exact, in any order. 1/(4r²) is added to every sum, half the distance to the next one, so
  that there are no halves to be rounded.
- r = 3, likewise: sums are multiples of 1/9, of which none is nearer to a half than 1/18, and both computations are off
  by less than a thousandth.

With r = 6 there are halves that the rounding of Pillow's own weights decides. Like every other ratio it is left to
Pillow. OpenCV's own way to reduce images (INTER_AREA) has other weights.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from protoleak.arrays import Float32Array, UInt8Array
from protoleak.images.halving import halved_height, halved_width

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
        The image as Pillow or OpenCV made it, so that nothing is copied twice; `image` itself where nothing changes.
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
    import cv2  # where it is used: engines are opened while it is imported

    kernel = _kernel(factor)
    anchor = factor // 2  # so that the result for output pixel n lies at pixel n·r
    half_up = 1 / (4 * factor * factor)
    if axis == 1:
        filtered = cv2.filter2D(pixels, -1, kernel[np.newaxis, :], anchor=(anchor, 0), delta=half_up)
        size = pixels.shape[1] // factor, pixels.shape[0]
        shrunk = cv2.resize(filtered, size, interpolation=cv2.INTER_NEAREST)
        ends = np.concatenate([pixels[:, : ENDS * factor], pixels[:, -ENDS * factor :]], axis=1)
        resized = Image.fromarray(ends).resize((2 * ENDS, pixels.shape[0]), Image.Resampling.BILINEAR)
        shrunk[:, [0, -1]] = np.asarray(resized)[:, [0, -1]]
    else:
        filtered = cv2.filter2D(pixels, -1, kernel[:, np.newaxis], anchor=(0, anchor), delta=half_up)
        shrunk = filtered[::factor].copy()
        ends = np.concatenate([pixels[: ENDS * factor], pixels[-ENDS * factor :]])
        resized = Image.fromarray(ends).resize((pixels.shape[1], 2 * ENDS), Image.Resampling.BILINEAR)
        shrunk[[0, -1]] = np.asarray(resized)[[0, -1]]
    return shrunk.astype(np.uint8, copy=False)


def _kernel(factor: int) -> Float32Array:
    """A triangle whose feet are r pixels from its middle, at the places of the pixels; they sum to 1."""
    offsets = np.arange(2 * factor) - (factor // 2) + 0.5 - factor / 2
    weights = np.maximum(0, 1 - np.abs(offsets) / factor) / factor
    return np.asarray(weights, np.float32)
