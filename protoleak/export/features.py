"""A data set's images as the network sees them: pixels cached as latents, latents as embeddings.

Heads and density are fitted on the PyTorch model's embeddings with its frozen noise bank; the calibration and all
measurements use the exported graphs instead (see `export.runner`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float32Array, UInt8Array
from protoleak.errors import DatasetError, MediaError
from protoleak.faces.framer import Framer
from protoleak.images.sources import name_in_messages
from protoleak.latent_statistics import second_order_statistics
from protoleak.model.checkpoint import TrainedModel, attributor_outputs
from protoleak.model.latent_cache import DEPLOYED_VIEW, LatentItem, cached_latents, latent_key


@dataclass(frozen=True)
class Features:
    """What the PyTorch network gives for the readable images among some images.

    Attributes:
        embedding, gate: float32 [n, D].
        statistics: float32 [n, L·F], second-order statistics of the latents.
        labels: int64 [n].
        skipped: position among the images, and why, of each file that is no readable image.
    """

    embedding: Float32Array
    gate: Float32Array
    statistics: Float32Array
    labels: npt.NDArray[np.int64]
    skipped: tuple[tuple[int, str], ...]


def network_features(
    model: TrainedModel,
    paths: Sequence[Path],
    labels: npt.NDArray[np.int64],
    framer: Framer,
    cache: Path | None,
    progress: Callable[[int], None] = lambda _: None,
) -> Features:
    """Embeddings and gates of images, as deployed: framed as in screening, frozen noise bank.

    Args:
        framer: of the model's framing.
        paths, labels: of the images; int64 [n].
        cache: of latents, or None.
        progress: called with the number of images encoded.

    Raises:
        DatasetError: none of the images can be read.
    """
    items = [_item(path, framer) for path in paths]
    encoded = cached_latents(model.latent_encoder, items, cache, progress=progress)
    if len(encoded.indices) == 0:
        first = f"; the first: {encoded.failures[0][1]}" if encoded.failures else ""
        raise DatasetError(f"none of {len(paths)} images can be read{first}")
    parts: list[dict[str, Float32Array]] = []
    statistics: list[Float32Array] = []
    for start in range(0, len(encoded.latents), 64):  # noised latents are T times as large: a chunk at a time
        z0 = model.config.standardised(encoded.latents[start : start + 64])
        z0 = z0.reshape(-1, *model.config.latent_shape)
        statistics.append(second_order_statistics(z0, len(model.config.looks)))
        parts.append(attributor_outputs(model, model.config.noised(z0)))
    return Features(
        embedding=np.concatenate([part["embedding"] for part in parts]),
        gate=np.concatenate([part["gate"] for part in parts]),
        statistics=np.concatenate(statistics),
        labels=labels[encoded.indices],
        skipped=tuple((index, reason(paths[index], error)) for index, error in encoded.failures),
    )


def reason(path: Path, error: MediaError) -> str:
    """Why a file is no readable image, without its path: bundles name files relative to the data set."""
    return str(error).removeprefix(f"{name_in_messages(str(path))}: ")


def _item(path: Path, framer: Framer) -> LatentItem:
    try:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        unreadable = MediaError(f"{name_in_messages(str(path))}: cannot be read: {error.strerror or error}")

        def fail() -> UInt8Array:
            raise unreadable

        return LatentItem(f"unreadable {path}", fail)
    return LatentItem(latent_key(content, DEPLOYED_VIEW, framer.framing, framer.face_model), lambda: framer.file(path))
