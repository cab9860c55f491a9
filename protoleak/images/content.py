"""Whether an image holds enough to be judged: what is black, flat, blurred or tiny names nobody, whatever its scores.

The limits are far below what photographs and generators give (see tests/images/test_content.py, which runs degraded
real faces through them): they refuse what holds no trace at all, not what is merely poor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from protoleak.arrays import UInt8Array

SMALLEST_SIDE = 40  # pixels of the square that is judged, before it is resized: below, there is more filter than face
LOWEST_CONTRAST = 4.0  # standard deviation of the luma, in grey levels
# Mean absolute difference of the luma from itself blurred by σ = 2, in grey levels. Photographs and generators give 3.2
# to 13 at 256 pixels, after a blur of σ = 2 there 1.3 to 4.9, of σ = 6 0.4 to 0.95 (42 images of all sources).
LOWEST_DETAIL, DETAIL_SCALE = 1.2, 2.0
REACH = 8  # rows that OpenCV's blur of that σ reaches to either side
ENOUGH = 1.001  # times as much as is needed: sums of other rows are rounded otherwise


def lacking(pixels: UInt8Array, side: int) -> str | None:
    """What an image lacks, in words for its notes; None where it can be judged.

    Args:
        pixels: uint8 [L, S, S, 3], all looks at it; it lacks what its best look lacks.
        side: of the square that was judged, in pixels of the image as it came.
    """
    if side < SMALLEST_SIDE:
        return f"too small to judge: {side} pixels, {SMALLEST_SIDE} are needed"
    looks = [_Look(look) for look in pixels]
    contrast = _most(looks, _Look.contrast, LOWEST_CONTRAST)
    if contrast < LOWEST_CONTRAST:
        return f"without content: grey levels spread by {contrast:.1f}, at least {LOWEST_CONTRAST:g} are needed"
    detail = _most(looks, _Look.detail, LOWEST_DETAIL)
    if detail < LOWEST_DETAIL:
        return f"blurred beyond use: detail of {detail:.2f} grey levels, at least {LOWEST_DETAIL:g} are needed"
    return None


class _Look:
    """One look, of which no more rows are looked at than are needed to see that it has enough.

    Sums of squares about the mean, and absolute differences, are sums of what is not negative: what some rows have is
    at most what all rows have.
    """

    def __init__(self, pixels: UInt8Array) -> None:
        self._pixels, self._kept = pixels, dict[tuple[int, int], UInt8Array]()
        self._height, self._size = len(pixels), int(pixels.shape[0] * pixels.shape[1])
        third = self._height // 3
        ends = (0, third, self._height - third, self._height)
        self._parts = ((ends[1], ends[2]), (ends[2], ends[3]), (ends[0], ends[1])) if third > 2 * REACH else ()

    def contrast(self) -> float:
        """Standard deviation of the luma; that of the middle rows, for all, where they alone have enough."""
        for first, last in self._parts[:1]:
            luma = self._luma(first - REACH, last + REACH)  # as `detail` needs it
            found = _deviation(luma) * math.sqrt(luma.size / self._size)
            if found >= ENOUGH * LOWEST_CONTRAST:
                return found
        return _deviation(self._luma(0, self._height))

    def detail(self) -> float:
        """Of the whole look; of a third or two of its rows, the middle first, where they alone have enough for all."""
        found = 0.0
        for first, last in self._parts:
            found += self._difference(first, last)
            if found >= ENOUGH * LOWEST_DETAIL:
                return found
        return self._difference(0, self._height)

    def _luma(self, first: int, last: int) -> UInt8Array:
        """Of the rows from `first` to before `last`."""
        import cv2  # where it is used: engines are opened while it is imported

        if (luma := self._kept.get((first, last))) is None:
            luma = cv2.cvtColor(self._pixels[first:last], cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)
            self._kept[first, last] = luma
        return luma

    def _difference(self, first: int, last: int) -> float:
        """The absolute difference from the luma blurred, summed over the rows from `first` to before `last`, for each
        pixel of the look."""
        import cv2

        above, below = min(first, REACH), min(self._height - last, REACH)
        values = self._luma(first - above, last + below).astype(np.float32)
        blurred = cv2.GaussianBlur(values, (0, 0), DETAIL_SCALE)
        rows = slice(above, len(values) - below)
        difference: float = cv2.norm(values[rows], blurred[rows], cv2.NORM_L1)
        return difference / self._size


def _deviation(luma: UInt8Array) -> float:
    import cv2

    return float(cv2.meanStdDev(luma)[1][0, 0])


def _most(looks: Sequence[_Look], measure: Callable[[_Look], float], enough: float) -> float:
    """The most that a look has; of looks behind one that has enough, nobody asks."""
    most = 0.0
    for look in looks:
        most = max(most, measure(look))
        if most >= enough:
            break
    return most
