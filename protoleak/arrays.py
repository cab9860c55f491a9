"""Types of the arrays that pass between stages, and what several stages compute of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
UInt8Array = npt.NDArray[np.uint8]
UInt16Array = npt.NDArray[np.uint16]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


def softmax(scores: npt.NDArray[np.floating], temperature: float = 1.0) -> Float64Array:
    """exp(score/T) over its sum along the last axis: float [..., K] to float64 [..., K]."""
    scaled = scores.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))
