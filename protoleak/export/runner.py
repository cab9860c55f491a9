"""Runs a variant's graphs as the runtime does, before there is a bundle: for calibration and for measurements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protoleak.arrays import Array, Float32Array, UInt8Array
from protoleak.bundle.manifest import Manifest
from protoleak.errors import MediaError
from protoleak.export.features import reason
from protoleak.export.report import VariantOutputs
from protoleak.faces.framer import Framer
from protoleak.faces.largest import LargestFace
from protoleak.latent_statistics import second_order_statistics, statistic_count
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.executors import Graphs, open_executor

BATCH_SIZE = 8


@dataclass(frozen=True)
class ImagesRun:
    """What a variant gave for some image files.

    Attributes:
        outputs: for those that can be read, in order.
        embedding, gate: float32 [n, D], of the same.
        statistics: float32 [n, L·F], second-order statistics of their latents.
        kept: their positions among the files.
        skipped: position, and why, of each of the others.
    """

    outputs: VariantOutputs
    embedding: Float32Array
    gate: Float32Array
    statistics: Float32Array
    kept: tuple[int, ...]
    skipped: tuple[tuple[int, str], ...]


class VariantRunner:
    """A variant's executor over image files: in ONNX Runtime on the CPU, which bundles are calibrated with, unless
    another engine is named."""

    def __init__(
        self,
        manifest: Manifest,
        noise_bank: Float32Array,
        latent_encoder: bytes,
        attributor: bytes,
        find: LargestFace | None = None,
        *,
        engine: str = "onnxruntime",
        options: EngineOptions | None = None,
    ) -> None:
        self._framer = Framer(manifest.preprocessing.framing, find)
        self._looks = len(manifest.preprocessing.looks)
        self._generators = len(manifest.generators)
        self._channels, self._features = manifest.latent_shape[0], manifest.embedding_size
        graphs = Graphs.of(latent_encoder, attributor)
        self._executor = open_executor(engine, graphs, manifest, noise_bank, options=options)

    def stages(self, images: UInt8Array) -> dict[str, Array]:
        """Every tensor that passes between stages, and the outputs: "z0", "z_t" and ATTRIBUTOR_OUTPUTS.

        Args:
            images: uint8 [N, L, S, S, 3].

        Raises:
            EngineError: z0 or an output is not finite.
        """
        return self._executor.run(images.reshape(-1, *images.shape[2:]), stages=True).stages

    def run(self, paths: Sequence[Path], progress: Callable[[int], None] = lambda _: None) -> ImagesRun:
        """Outputs for those of the images that can be read.

        Raises:
            EngineError: an output is not finite.
        """
        scores = [np.zeros((0, self._generators), dtype=np.float32)]
        densities = [np.zeros(0, dtype=np.float32)]
        embeddings = [np.zeros((0, self._features), dtype=np.float32)]
        gates = [np.zeros((0, self._features), dtype=np.float32)]
        per_look = statistic_count(self._channels)
        statistics = [np.zeros((0, self._looks * per_look), dtype=np.float32)]
        kept: list[int] = []
        skipped: list[tuple[int, str]] = []
        for start in range(0, len(paths), BATCH_SIZE):
            pixels: list[UInt8Array] = []
            for index, path in enumerate(paths[start : start + BATCH_SIZE], start):
                try:
                    pixels.append(self._framer.file(path))
                except MediaError as error:
                    skipped.append((index, reason(path, error)))
                    continue
                kept.append(index)
            if pixels:
                found = self._executor.run(np.concatenate(pixels), stages=True)
                outputs = found.outputs
                assert found.z0 is not None
                statistics.append(second_order_statistics(found.z0, self._looks))
                scores.append(outputs["class_score"])
                densities.append(outputs["log_density"])
                embeddings.append(outputs["embedding"])
                gates.append(outputs["gate"])
            progress(min(start + BATCH_SIZE, len(paths)))
        given = VariantOutputs(np.concatenate(scores), np.concatenate(densities))
        return ImagesRun(
            given,
            np.concatenate(embeddings),
            np.concatenate(gates),
            np.concatenate(statistics),
            tuple(kept),
            tuple(skipped),
        )
