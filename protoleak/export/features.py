"""A data set's images as the network sees them: pixels cached as latents, latents as embeddings.

Heads and density are fitted on the PyTorch model's embeddings with its frozen noise bank; the calibration and all
measurements use the exported graphs instead (see `export.variant`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from protoleak.calibration.dataset import Sample
from protoleak.diffusion import Float32Array
from protoleak.errors import DatasetError, MediaError
from protoleak.model.checkpoint import TrainedModel, attributor_outputs
from protoleak.model.latent_cache import DEPLOYED_VIEW, LatentItem, cached_latents, latent_key
from protoleak.runtime.media import UInt8Array, open_image
from protoleak.runtime.preprocess import preprocess


@dataclass(frozen=True)
class Features:
    """What the PyTorch network gives for the readable images among some samples.

    Attributes:
        embedding, gate: float32 [n, D].
        labels: int64 [n].
        skipped: one line per file that is no readable image.
    """

    embedding: Float32Array
    gate: Float32Array
    labels: npt.NDArray[np.int64]
    skipped: tuple[str, ...]


def network_features(
    model: TrainedModel,
    samples: Sequence[Sample],
    cache: Path | None,
    progress: Callable[[int], None] = lambda _: None,
) -> Features:
    """Embeddings and gates of the samples, as deployed: plain preprocessing, frozen noise bank.

    Raises:
        DatasetError: none of the samples can be read.
    """
    items = [_item(sample.path, model.config.image_size) for sample in samples]
    encoded = cached_latents(model.latent_encoder, items, cache, progress=progress)
    if len(encoded.indices) == 0:
        raise DatasetError(f"none of {len(samples)} images can be read; the first: {encoded.failures[:1]}")
    parts: list[dict[str, Float32Array]] = []
    for start in range(0, len(encoded.latents), 64):  # noised latents are T times as large: a chunk at a time
        z_t = model.config.noised(encoded.latents[start : start + 64])
        parts.append(attributor_outputs(model, z_t))
    labels = np.array([samples[index].label for index in encoded.indices], dtype=np.int64)
    return Features(
        embedding=np.concatenate([part["embedding"] for part in parts]),
        gate=np.concatenate([part["gate"] for part in parts]),
        labels=labels,
        skipped=tuple(str(error) for _, error in encoded.failures),
    )


def deployed_pixels(path: Path, image_size: int) -> UInt8Array:
    """One image as the latent encoder gets it: uint8 [S, S, 3]. Raises MediaError where it is no readable image."""
    return preprocess(open_image(path).picture, image_size)


def _item(path: Path, image_size: int) -> LatentItem:
    try:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        unreadable = MediaError(f"{path}: cannot be read: {error.strerror or error}")

        def fail() -> UInt8Array:
            raise unreadable

        return LatentItem(f"unreadable {path}", fail)
    return LatentItem(latent_key(content, DEPLOYED_VIEW, image_size), lambda: deployed_pixels(path, image_size))
