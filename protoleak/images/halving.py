"""Pillow's bilinear resize to a half, to the byte: (a + 3b + 3c + d) / 8 along the width, then along the height.

Whole numbers of 16 bits hold every sum. Of an outermost pixel the weights are (3b + 3c + d) / 7: there are no halves of
sevenths, and Pillow rounds those of eighths up, as adding 4 before the division does.

Along the width neighbours lie three bytes apart, which is too little for the vector units. So a band of rows is split
into its colours, and two neighbours of one colour are then the two bytes of one number of 16 bits. Bands are few enough
rows to stay in the processor's cache from the first step to the last.
"""

from __future__ import annotations

import numpy as np

from protoleak.arrays import UInt8Array, UInt16Array

LEAST = 4  # pixels of a half: below, an outermost pixel's neighbours are outermost themselves
BAND = 128  # rows of the half that are computed together
# Pixels at the end of each row of one colour. Where all three rows begin at multiples of 32 bytes, OpenCV's `split`
# writes past the cache, and what reads them next takes three to ten times as long.
PADDING = 4


def halved(pixels: UInt8Array) -> UInt8Array:
    """Both axes: uint8 [2n, 2m, 3] → [n, m, 3], for n and m from LEAST on."""
    import cv2  # where it is used: engines are opened while it is imported

    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    band = min(BAND, height)
    narrow = _Narrowing(pixels, 2 * band + 2)  # with the rows above and below those that are halved
    above, upper, lower, below = (narrow.rows[first : first + 2 * band : 2] for first in range(4))
    result = np.empty((height, width, 3), np.uint8)
    for first in range(0, height, band):
        top = min(first, height - band)  # the last band may overlap with the one before
        narrow.fill(2 * top - 1)
        near, both = narrow.spare[:band], narrow.spare[band : 2 * band]
        cv2.add(upper, lower, near)
        cv2.add(above, below, both)
        _blend(near, both, both)
        if top == 0:
            _outermost(near[0], below[0], both[0])
        if top == height - band:
            _outermost(near[-1], above[-1], both[-1])
        narrow.join(both, result[top : top + band])
    return result


def halved_width(pixels: UInt8Array) -> UInt8Array:
    """uint8 [H, 2m, 3] → [H, m, 3], for H from 1 and m from LEAST on."""
    height, width = pixels.shape[0], pixels.shape[1] // 2
    band = min(2 * BAND, height)
    narrow = _Narrowing(pixels, band)
    result = np.empty((height, width, 3), np.uint8)
    for first in range(0, height, band):
        top = min(first, height - band)
        narrow.fill(top)
        narrow.join(narrow.rows, result[top : top + band])
    return result


def halved_height(pixels: UInt8Array) -> UInt8Array:
    """uint8 [2n, W, 3] → [n, W, 3], for n from LEAST on."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, width * 3)
    sums = np.add(rows[::2], rows[1::2], dtype=np.uint16)
    ends = sums[[0, -1]]
    _outermost(ends, rows[[2, -3]].astype(np.uint16), ends)
    sums *= 3
    sums[1:] += rows[1:-1:2]
    sums[:-1] += rows[2::2]
    sums += 4
    sums >>= 3
    sums[[0, -1]] = ends
    return sums.astype(np.uint8).reshape(height // 2, width, 3)


class _Narrowing:
    """Bands of rows of one image with their width halved, colour by colour.

    Attributes:
        rows: uint16 [R, 3·(m + PADDING)], the band that was filled: its red, green and blue values, each with padding.
        spare: memory of the same shape, free until the next band.

    Args:
        pixels: uint8 [H, 2m, 3].
        count: R.
    """

    rows: UInt16Array
    spare: UInt16Array

    def __init__(self, pixels: UInt8Array, count: int) -> None:
        width = pixels.shape[1] // 2
        self._pixels = pixels
        self._low, self.spare, self.rows = np.empty((3, count, 3 * (width + PADDING)), np.uint16)
        self._colours = self._low.view(np.uint8).reshape(count, 3, -1)[:, :, : 2 * width]
        self._bytes = self._low.view(np.uint8).reshape(2 * count, 3, -1)[:, :, :width]
        low, high, rows = (one.reshape(3 * count, -1) for one in (self._low, self.spare, self.rows))
        self._ends = tuple((low[:, end], rows[:, end]) for end in (0, width - 1))
        self._beyond = low[:, 1], high[:, width - 2]
        self._sums = np.empty((2, 2, 3 * count), np.uint16)

    def fill(self, top: int) -> None:
        """Takes the band that begins with row `top` of the image. Where the image has no such row, anything stands."""
        import cv2

        first, last = max(top, 0), min(top + len(self.rows), len(self._pixels))
        seen = slice(first - top, last - top)
        cv2.split(self._pixels[first:last], [self._colours[seen, colour] for colour in range(3)])
        low, high, far = self._low.reshape(-1), self.spare.reshape(-1), self.rows.reshape(-1)
        np.right_shift(low, 8, out=high)  # c of every pair, and here b
        np.bitwise_and(low, 255, out=low)
        near, beyond = self._sums
        beyond[0], beyond[1] = self._beyond
        np.add(high[:-2], low[2:], out=far[1:-1])  # a and d
        np.add(low, high, out=low)
        _blend(self._low, self.rows, self.rows)
        near[0], near[1] = self._ends[0][0], self._ends[1][0]
        _outermost(near, beyond, near)
        self._ends[0][1][:], self._ends[1][1][:] = near

    def join(self, rows: UInt16Array, result: UInt8Array) -> None:
        """Writes rows of the form of `rows`, below 256, into uint8 [R', m, 3]."""
        import cv2

        part = self._low.view(np.uint8).reshape(-1)[: rows.size].reshape(rows.shape)
        np.copyto(part, rows, casting="unsafe")
        colours = self._bytes[: len(rows)]
        cv2.merge([colours[:, colour] for colour in range(3)], result)


def _blend(near: UInt16Array, far: UInt16Array, out: UInt16Array) -> None:
    """(3·near + far + 4) // 8. In float32, all of it exact; half of an eighth is added, so that there are no halves."""
    import cv2

    cv2.addWeighted(near, 3 / 8, far, 1 / 8, 1 / 16, out)


def _outermost(near: UInt16Array, beyond: UInt16Array, out: UInt16Array) -> None:
    """(3·near + beyond) / 7, rounded."""
    np.multiply(near, 3, out=out)
    out += beyond
    out += 3
    out //= 7
