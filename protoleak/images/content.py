"""Whether an image holds enough to be judged: what is black, flat, blurred or tiny names nobody, whatever its scores.

The limits are far below what photographs and generators give (see tests/images/test_content.py, which runs degraded
real faces through them): they refuse what holds no trace at all, not what is merely poor.
"""

from __future__ import annotations

import cv2
import numpy as np

from protoleak.arrays import UInt8Array

SMALLEST_SIDE = 40  # pixels of the square that is judged, before it is resized: below, there is more filter than face
LOWEST_CONTRAST = 4.0  # standard deviation of the luma, in grey levels
LOWEST_DETAIL = 0.35  # mean absolute value of the luma's Laplacian, in grey levels


def lacking(pixels: UInt8Array, side: int) -> str | None:
    """What an image lacks, in words for its notes; None where it can be judged.

    Args:
        pixels: uint8 [L, S, S, 3], all looks at it; it lacks what its best look lacks.
        side: of the square that was judged, in pixels of the image as it came.
    """
    if side < SMALLEST_SIDE:
        return f"too small to judge: {side} pixels, {SMALLEST_SIDE} are needed"
    luma = [cv2.cvtColor(look, cv2.COLOR_RGB2GRAY).astype(np.float32) for look in pixels]
    contrast = max(float(look.std()) for look in luma)
    if contrast < LOWEST_CONTRAST:
        return f"without content: grey levels spread by {contrast:.1f}, at least {LOWEST_CONTRAST:g} are needed"
    detail = max(float(np.abs(cv2.Laplacian(look, cv2.CV_32F)).mean()) for look in luma)
    if detail < LOWEST_DETAIL:
        return f"blurred beyond use: detail of {detail:.2f} grey levels, at least {LOWEST_DETAIL:g} are needed"
    return None
