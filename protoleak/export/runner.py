"""Runs a variant's graphs as the runtime does, before there is a bundle: for calibration and for measurements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protoleak.arrays import Float32Array, UInt8Array
from protoleak.bundle.manifest import Manifest
from protoleak.errors import MediaError
from protoleak.export.features import deployed_pixels, reason
from protoleak.export.graphs import ATTRIBUTOR_OUTPUTS
from protoleak.export.report import VariantOutputs
from protoleak.runtime.engines import Graph, open_engine
from protoleak.runtime.noising import Noising

BATCH_SIZE = 8


@dataclass(frozen=True)
class ImagesRun:
    """What a variant gave for some image files.

    Attributes:
        outputs: for those that can be read, in order.
        kept: their positions among the files.
        skipped: position, and why, of each of the others.
    """

    outputs: VariantOutputs
    kept: tuple[int, ...]
    skipped: tuple[tuple[int, str], ...]


class VariantRunner:
    """Both graphs of a variant in ONNX Runtime on the CPU, with the noising between them."""

    def __init__(self, manifest: Manifest, noise_bank: Float32Array, latent_encoder: bytes, attributor: bytes) -> None:
        self._image_size = manifest.preprocessing.image_size
        self._generators = len(manifest.generators)
        self._noising = Noising.of(manifest, noise_bank)
        self._latent_encoder = open_engine("onnxruntime", Graph("latent encoder", latent_encoder, ("z0",)))
        self._attributor = open_engine("onnxruntime", Graph("attributor", attributor, ATTRIBUTOR_OUTPUTS))

    def stages(self, images: UInt8Array) -> dict[str, Float32Array]:
        """Every tensor that crosses between stages, and the outputs: "z0", "z_t" and ATTRIBUTOR_OUTPUTS."""
        z0 = self._latent_encoder.run({"image": images})["z0"]
        z_t = self._noising(z0)
        return {"z0": z0, "z_t": z_t, **self._attributor.run({"z_t": z_t})}

    def run(self, paths: Sequence[Path], progress: Callable[[int], None] = lambda _: None) -> ImagesRun:
        """Outputs for those of the images that can be read.

        Raises:
            EngineError: an output is not finite.
        """
        scores = [np.zeros((0, self._generators), dtype=np.float32)]
        densities = [np.zeros(0, dtype=np.float32)]
        kept: list[int] = []
        skipped: list[tuple[int, str]] = []
        for start in range(0, len(paths), BATCH_SIZE):
            pixels: list[UInt8Array] = []
            for index, path in enumerate(paths[start : start + BATCH_SIZE], start):
                try:
                    pixels.append(deployed_pixels(path, self._image_size))
                except MediaError as error:
                    skipped.append((index, reason(path, error)))
                    continue
                kept.append(index)
            if pixels:
                stages = self.stages(np.stack(pixels))
                scores.append(stages["class_score"])
                densities.append(stages["log_density"])
            progress(min(start + BATCH_SIZE, len(paths)))
        outputs = VariantOutputs(np.concatenate(scores), np.concatenate(densities))
        return ImagesRun(outputs, tuple(kept), tuple(skipped))
