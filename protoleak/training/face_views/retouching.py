"""What phones and editors do to an image of a face."""

from __future__ import annotations

import math

import cv2
import numpy as np

from protoleak.arrays import UInt8Array

RETOUCHES = ("unsharp", "denoise", "median", "blur", "motion", "gamma", "contrast", "colour", "grey", "noise")


def retouch(view: UInt8Array, kind: str, amount: float, random: np.random.Generator) -> UInt8Array:
    """What phones and editors do; `amount` from −1 to 1 is its strength (and direction, where there is one)."""
    strength = abs(amount)
    if kind == "unsharp":
        soft = cv2.GaussianBlur(view, (0, 0), 0.7 + 1.3 * strength)
        return np.asarray(cv2.addWeighted(view, 1.3 + strength, soft, -0.3 - strength, 0))
    if kind == "denoise":
        return np.asarray(cv2.bilateralFilter(view, 5, 8 + 25 * strength, 2.0))
    if kind == "median":
        return np.asarray(cv2.medianBlur(view, 3))
    if kind == "blur":
        return np.asarray(cv2.GaussianBlur(view, (0, 0), 0.4 + 0.9 * strength))
    if kind == "motion":
        return _moved_while_exposed(view, 2 + 5 * strength, math.pi * amount)
    if kind == "gamma":
        table = np.clip(255 * (np.arange(256) / 255) ** math.exp(0.4 * amount), 0, 255).astype(np.uint8)
        return np.asarray(cv2.LUT(view, table))
    values = view.astype(np.float32)
    if kind == "contrast":
        mean = values.mean()
        values = mean + math.exp(0.35 * amount) * (values - mean)
    elif kind == "colour":
        values *= np.exp(random.uniform(-0.12, 0.12, 3)).astype(np.float32)
        grey = values.mean(axis=2, keepdims=True)
        values = grey + math.exp(0.4 * amount) * (values - grey)
    elif kind == "grey":
        values = np.repeat((values @ np.array([0.299, 0.587, 0.114], np.float32))[..., None], 3, axis=2)
    elif kind == "noise":
        values += random.normal(0, 1 + 5 * strength, values.shape).astype(np.float32)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _moved_while_exposed(view: UInt8Array, length: float, angle: float) -> UInt8Array:
    """Blurred along a line of that length, in pixels, in that direction."""
    reach = math.ceil(length / 2)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for along in np.linspace(-length / 2, length / 2, 8 * reach):
        kernel[round(reach + along * math.sin(angle)), round(reach + along * math.cos(angle))] += 1
    return np.asarray(cv2.filter2D(view, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT))
