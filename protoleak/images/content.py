"""Whether an image holds enough to be judged: what is black, flat, blurred or tiny names nobody, whatever its scores.

The limits are far below what photographs and generators give (see tests/images/test_content.py, which runs degraded
real faces through them): they refuse what holds no trace at all, not what is merely poor.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from protoleak.arrays import UInt8Array

SMALLEST_SIDE = 40  # pixels of the square that is judged, before it is resized: below, there is more filter than face
LOWEST_CONTRAST = 4.0  # standard deviation of the luma, in grey levels
# Mean absolute difference of the luma from itself blurred by σ = 2, in grey levels. Photographs and generators give 3.2
# to 13 at 256 pixels, after a blur of σ = 2 there 1.3 to 4.9, of σ = 6 0.4 to 0.95 (42 images of all sources).
LOWEST_DETAIL, DETAIL_SCALE = 1.2, 2.0


def lacking(pixels: UInt8Array, side: int) -> str | None:
    """What an image lacks, in words for its notes; None where it can be judged.

    Args:
        pixels: uint8 [L, S, S, 3], all looks at it; it lacks what its best look lacks.
        side: of the square that was judged, in pixels of the image as it came.
    """
    if side < SMALLEST_SIDE:
        return f"too small to judge: {side} pixels, {SMALLEST_SIDE} are needed"
    contrast = _most(pixels, _contrast, LOWEST_CONTRAST)
    if contrast < LOWEST_CONTRAST:
        return f"without content: grey levels spread by {contrast:.1f}, at least {LOWEST_CONTRAST:g} are needed"
    detail = _most(pixels, _detail, LOWEST_DETAIL)
    if detail < LOWEST_DETAIL:
        return f"blurred beyond use: detail of {detail:.2f} grey levels, at least {LOWEST_DETAIL:g} are needed"
    return None


def _most(pixels: UInt8Array, measure: Callable[[UInt8Array], float], enough: float) -> float:
    """The most that a look has; of looks behind one that has enough, nobody asks."""
    most = 0.0
    for look in pixels:
        most = max(most, measure(look))
        if most >= enough:
            break
    return most


def _contrast(look: UInt8Array) -> float:
    import cv2  # where it is used: engines are opened while it is imported

    _, deviation = cv2.meanStdDev(cv2.cvtColor(look, cv2.COLOR_RGB2GRAY))
    return float(deviation[0, 0])


def _detail(look: UInt8Array) -> float:
    import cv2

    luma = cv2.cvtColor(look, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return cv2.norm(luma, cv2.GaussianBlur(luma, (0, 0), DETAIL_SCALE), cv2.NORM_L1) / luma.size
