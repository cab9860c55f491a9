"""Detectors look at a smaller frame, so that their cost is bounded."""

from __future__ import annotations

import cv2
import numpy as np

from protoleak.arrays import UInt8Array

# Faces of the default minimum size, 48 pixels, are 24 pixels high here when the frame is 1280 wide: YuNet still finds
# them all (tests/video/faces/test_yunet.py), for a quarter of the pixels.
DETECTION_SIDE = 640


def reduced(image: UInt8Array, longest: int) -> tuple[UInt8Array, float]:
    """The image with its longer side at most `longest` pixels, and by what it was scaled (1 where it was left alone).

    Args:
        image: uint8 [H, W, 3].
    """
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return image, 1.0
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False), scale
