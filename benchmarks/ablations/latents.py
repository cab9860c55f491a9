"""The latents of everything that an ablation is fitted and measured on; encoded once, cached by content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float32Array
from protoleak.dataset import Dataset, auxiliary_images
from protoleak.evaluation.images import Image
from protoleak.faces.framer import Framer
from protoleak.model.checkpoint import TrainedModel
from protoleak.progress import Progress
from protoleak.training.latents import encode_images

SPLITS = ("train", "validation", "calibration")


@dataclass(frozen=True)
class Part:
    """Latents z0 float32 [n, L, C, h, w] of some images, as deployed, and their classes int64 [n] (-1 for none)."""

    z0: Float32Array
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Encoded:
    """Everything.

    Attributes:
        splits: of SPLITS.
        measured: the images of the test, the unknown generators and the real photographs.
        images: of `measured`, in its order.
        auxiliary: of generators that are learnt and never named; None without any.
    """

    splits: dict[str, Part]
    measured: Part
    images: tuple[Image, ...]
    auxiliary: Part | None = None


def encode(
    model: TrainedModel,
    dataset: Dataset,
    images: Sequence[Image],
    framer: Framer,
    cache: Path | None,
    progress: Progress,
    auxiliary: Path | None = None,
) -> Encoded:
    """Encodes the splits of a data set and the images to measure on; unreadable files are left out.

    Args:
        framer: of the model's framing.
        auxiliary: a folder with a folder per auxiliary generator.
    """

    def part(name: str, paths: list[Path], labels: list[int]) -> tuple[Part, list[int]]:
        found = encode_images(
            model.latent_encoder, paths, 0, 0, framer, cache, lambda done, of: progress(f"encode {name}", done, of)
        )
        kept = found.image.tolist()
        z0 = model.config.standardised(found.z0.float().numpy())
        return Part(z0, np.array([labels[index] for index in kept], dtype=np.int64)), kept

    splits = {}
    for name in SPLITS:
        samples = getattr(dataset, name)
        splits[name], _ = part(name, [sample.path for sample in samples], [sample.label for sample in samples])
    measured, kept = part("test", [one.path for one in images], [one.label for one in images])
    others = None
    if auxiliary is not None:
        of_each = enumerate(auxiliary_images(auxiliary, dataset).values())
        labelled = [(path, label) for label, paths in of_each for path in paths]
        others, _ = part("auxiliary", [path for path, _ in labelled], [label for _, label in labelled])
    return Encoded(splits, measured, tuple(images[index] for index in kept), others)
