"""The diffusion autoencoder whose latents all generators start from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from rich.progress import track

from protoleak.arrays import Float32Array, UInt8Array

BATCH = 8


class Autoencoder:
    """Encoder and decoder as ONNX: images uint8 [n, 256, 256, 3] ↔ latents float32 [n, C, 32, 32]."""

    def __init__(self, encoder: Path, decoder: Path) -> None:
        providers = ["CPUExecutionProvider"]
        self._encoder = onnxruntime.InferenceSession(str(encoder), providers=providers)
        self._decoder = onnxruntime.InferenceSession(str(decoder), providers=providers)

    def encode(self, images: UInt8Array, description: str) -> Float32Array:
        """In batches, with a progress bar of that description."""
        name = self._encoder.get_inputs()[0].name
        parts = []
        for start in track(range(0, len(images), BATCH), description=description):
            scaled = images[start : start + BATCH].transpose(0, 3, 1, 2).astype(np.float32) / 255
            parts.append(self._encoder.run(None, {name: scaled})[0])
        return np.concatenate(parts)

    def decode(self, latents: Float32Array) -> UInt8Array:
        """All at once."""
        return to_pixels(self._decoder.run(None, {self._decoder.get_inputs()[0].name: latents})[0])


def to_pixels(planes: Float32Array) -> UInt8Array:
    """float [n, 3, h, w] in [0, 1] → uint8 [n, h, w, 3]."""
    pixels: UInt8Array = (planes.clip(0, 1) * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    return pixels
