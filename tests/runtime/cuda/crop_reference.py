"""What the crop kernels must give: the product's own framing of still images."""

from __future__ import annotations

import numpy as np
from PIL import Image

from protoleak.images.framing import mirrored
from protoleak.images.preprocess import preprocess
from protoleak.runtime.cuda.crops import Rectangle


def cropped(rgb: np.ndarray, rectangle: Rectangle, size: int) -> np.ndarray:
    """uint8 [S, S, 3]: the rectangle cut out as `Framing` cuts its squares, preprocessed."""
    left, top, width, height = rectangle
    rows, columns = mirrored(top, height, rgb.shape[0]), mirrored(left, width, rgb.shape[1])
    return preprocess(Image.fromarray(np.ascontiguousarray(rgb[rows[:, None], columns])), size)
