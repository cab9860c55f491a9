"""Pillow's bilinear resize of one axis to a third or a quarter, to the byte, but for the outermost pixels.

An output pixel is a sum over its own r pixels and the nearest of its two neighbours, with weights that rise by equal
steps towards the middle:

- r = 3: (d' + 2a + 3b + 2c + d) / 9. No sum is nearer to a half than 1/18, and Pillow is off by less than a thousandth.
- r = 4: (c' + 3d' + 5a + 7b + 7c + 5d + 3e + f) / 32, which Pillow computes exactly, and it rounds halves up.

Whole numbers of 16 bits hold every sum. All first pixels are put together, all second ones and so on, so that the
vector units can be used: of the height these are rows; of the width, the bytes of one colour in turn.
"""

from __future__ import annotations

import numpy as np

from protoleak.arrays import UInt8Array, UInt16Array

# By factor: the places among a pixel's own r whose sum has a weight, and that; a place in the pixel before, one in the
# pixel after, and the weight of their sum.
OWN = {3: (((1,), 3), ((0, 2), 2)), 4: (((1, 2), 7), ((0, 3), 5))}
ACROSS = {3: ((2, 0, 1),), 4: ((3, 0, 3), (2, 1, 1))}
BAND = 128  # rows whose width is shrunk together
PADDING = 4  # of each row of one colour, in output pixels: see `images.halving`


def shrunk_width(pixels: UInt8Array, factor: int) -> UInt8Array:
    """uint8 [H, factor·m, 3] → [H, m, 3], whose first and last column are not to be used."""
    import cv2  # where it is used: engines are opened while it is imported

    height, width = pixels.shape[0], pixels.shape[1] // factor
    band = min(BAND, height)
    padded = width + PADDING
    colours = np.empty((band, 3, factor * padded), np.uint8)
    # OpenCV's `split` writes past the cache where all its results begin at multiples of 32 bytes.
    places = np.empty((factor, band * 3 * padded + 8), np.uint8)[:, : band * 3 * padded]
    result = np.empty((height, width, 3), np.uint8)
    for first in range(0, height, band):
        top = min(first, height - band)  # the last band may overlap with the one before
        cv2.split(pixels[top : top + band], [colours[:, colour, : factor * width] for colour in range(3)])
        cv2.split(colours.reshape(1, -1, factor), [places[place : place + 1] for place in range(factor)])
        found = _shrunk(places.astype(np.uint16), 1).astype(np.uint8).reshape(band, 3, padded)[:, :, :width]
        cv2.merge([found[:, colour] for colour in range(3)], result[top : top + band])
    return result


def shrunk_height(pixels: UInt8Array, factor: int) -> UInt8Array:
    """uint8 [factor·n, W, 3] → [n, W, 3], whose first and last row are not to be used."""
    height, width = pixels.shape[0] // factor, pixels.shape[1]
    rows = np.empty((factor, height, 3 * width), np.uint16)
    rows[:] = pixels.reshape(height, factor, 3 * width).transpose(1, 0, 2)
    return _shrunk(rows.reshape(factor, -1), 3 * width).astype(np.uint8).reshape(height, width, 3)


def _shrunk(places: UInt16Array, step: int) -> UInt16Array:
    """The output pixels of places uint16 [r, N], of which the one before is `step` numbers away; the first and the last
    `step` of them are not to be used."""
    factor, count = places.shape
    total, part = np.zeros(count, np.uint16), np.empty(count, np.uint16)
    for own, weight in OWN[factor]:
        np.multiply(
            places[own[0]] if len(own) == 1 else np.add(places[own[0]], places[own[1]], out=part), weight, out=part
        )
        total += part
    inner = total[step:-step]
    part = part[step:-step]
    for before, after, weight in ACROSS[factor]:
        np.add(places[before, : -2 * step], places[after, 2 * step :], out=part)
        if weight > 1:
            part *= weight
        inner += part
    if factor == 4:
        total += 16
        total >>= 5
    else:
        total += 4
        total //= 9
    return total
