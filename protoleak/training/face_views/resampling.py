"""The filters that images are made larger and smaller with."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from protoleak.arrays import UInt8Array

FILTERS = ("bilinear", "bicubic", "lanczos", "box", "hamming", "cv_area", "cv_linear", "cv_cubic")
PILLOW_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
CV_FILTERS = {"cv_area": cv2.INTER_AREA, "cv_linear": cv2.INTER_LINEAR, "cv_cubic": cv2.INTER_CUBIC}


def resize(view: UInt8Array, width: int, height: int, resampler: str) -> UInt8Array:
    """uint8 [h, w, 3] to that size."""
    if resampler in PILLOW_FILTERS:
        return np.asarray(Image.fromarray(view).resize((width, height), PILLOW_FILTERS[resampler]))
    method = CV_FILTERS[resampler]
    if method == cv2.INTER_AREA and width > view.shape[1]:
        method = cv2.INTER_LINEAR
    return np.asarray(cv2.resize(view, (width, height), interpolation=method))
