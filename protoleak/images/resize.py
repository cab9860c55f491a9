"""Pillow's bilinear resize of one axis, to the byte, and faster where the axis shrinks by a small whole number.

Pillow computes each output pixel by itself, in scalar fixed-point arithmetic. Where an axis shrinks by a whole number r
(512 → 256, 1024 → 256: the usual sizes of generators) all output pixels but the outermost have the same weights, so
that the vector units can be used. Why that gives the same bytes:

- r = 2: the weights are eighths, and of an outermost pixel sevenths, so that whole numbers do it. Pillow rounds halves
  up; there are none of sevenths.
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

FACTORS = (2, 3, 4)
BAND = 256  # rows that are turned together, so that they stay in the processor's cache
ENDS = 4  # output pixels at either end of an axis that Pillow computes, to take the outermost of them

Axis = Literal[0, 1]  # height, width
Picture: TypeAlias = "Image.Image | UInt8Array"  # of mode RGB, or uint8 [H, W, 3]


def resize_axis(image: Picture, axis: Axis, length: int) -> Picture:
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
    return _halved(np.asarray(image), axis) if factor == 2 else _shrunk(np.asarray(image), axis, factor)


def size_of(image: Picture) -> tuple[int, int]:
    """Height and width."""
    return (image.height, image.width) if isinstance(image, Image.Image) else (image.shape[0], image.shape[1])


def cut_out(image: Picture, rows: slice, columns: slice) -> Picture:
    """A rectangle inside the image."""
    if isinstance(image, Image.Image):
        return image.crop((columns.start, rows.start, columns.stop, rows.stop))
    return image[rows, columns]


def _halved(pixels: UInt8Array, axis: Axis) -> UInt8Array:
    """By 2, to at least ENDS pixels."""
    if axis == 0:
        return _halved_rows(pixels)
    import cv2  # where it is used: engines are opened while it is imported

    height, width = pixels.shape[:2]
    half = np.empty((height, width // 2, 3), np.uint8)
    for top in range(0, height, BAND):  # columns lie apart by three bytes, which is too little for the vector units
        turned = cv2.transpose(pixels[top : top + BAND]).astype(np.uint8, copy=False)
        cv2.transpose(_halved_rows(turned), half[top : top + BAND])
    return half


def _halved_rows(pixels: UInt8Array) -> UInt8Array:
    """uint8 [2n, W, 3] → [n, W, 3]."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, width * 3)
    sums = np.add(rows[::2], rows[1::2], dtype=np.uint16)
    sums *= 3
    sums[1:] += rows[1:-1:2]
    sums[:-1] += rows[2::2]
    sums += 4
    sums >>= 3
    ends = np.add(rows[[0, -1]], rows[[1, -2]], dtype=np.uint16)
    ends *= 3
    ends += rows[[2, -3]]
    sums[[0, -1]] = (2 * ends + 7) // 14
    return sums.astype(np.uint8).reshape(height // 2, width, 3)


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
