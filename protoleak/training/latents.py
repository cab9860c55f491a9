"""From image files to the latents that training works on: each view is encoded once, and cached by content."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch

from protoleak.errors import DatasetError, MediaError
from protoleak.faces.framer import Framer
from protoleak.images.sources import name_in_messages, printable
from protoleak.model.latent_cache import LatentItem, cached_latents
from protoleak.model.latent_encoder import LatentEncoder
from protoleak.training.views import ViewSource, view_sources


class Skipped(msgspec.Struct, frozen=True):
    """A file that is no readable image."""

    path: str
    reason: str


@dataclass(frozen=True)
class EncodedImages:
    """Latents of the views of the readable ones among some image files.

    Attributes:
        z0: float32 [n, L, C, h, w], as the encoder gives it; the views of an image follow one another, the deployed one
            first. In several looks it is float16: it fills the memory.
        image: int64 [n], position in the given list of files.
        files: SHA-256 of every readable file.
        skipped: the others.
    """

    z0: torch.Tensor
    image: torch.Tensor
    files: dict[Path, str]
    skipped: list[Skipped]


def encode_images(
    encoder: LatentEncoder,
    paths: Sequence[Path],
    views: int | Sequence[int],
    seed: int,
    framer: Framer,
    cache: Path | None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    *,
    operator_share: float = 0.0,
    workers: int = 0,
) -> EncodedImages:
    """Latents of each image as deployed and of `views` more views of it; unreadable images are skipped and listed.

    Args:
        views: of every image, or of each.
        seed: of the views.
        framer: of the model's framing.
        cache: folder of cached latents, or None to keep nothing.
        progress: called with how many views are done, and of how many.
        operator_share: see `draw_view`.
        workers: processes that make views while others are encoded; 0 for threads.
    """
    sources: list[ViewSource] = []
    positions: list[int] = []
    reasons: dict[int, MediaError] = {}
    of_each = [views] * len(paths) if isinstance(views, int) else views
    for position, (path, count) in enumerate(zip(paths, of_each, strict=True)):
        try:
            of_image = view_sources(path, count, seed, framer, operator_share)
        except MediaError as error:
            reasons[position] = error
            continue
        sources += of_image
        positions += [position] * len(of_image)
    items = [LatentItem(source.key, source) for source in sources]
    cached = cached_latents(encoder, items, cache, progress=lambda done: progress(done, len(items)), workers=workers)
    for index, failure in cached.failures:
        reasons[positions[index]] = failure
    image = torch.tensor([positions[index] for index in cached.indices.tolist()], dtype=torch.int64)
    return EncodedImages(
        z0=torch.from_numpy(cached.latents if len(framer.framing.looks) == 1 else cached.latents.astype(np.float16)),
        image=image,
        files={source.path: source.sha256 for source, at in zip(sources, positions, strict=True) if at not in reasons},
        skipped=[_skipped(paths[position], reasons[position]) for position in sorted(reasons)],
    )


def require_every_class(
    labels: torch.Tensor, generators: Sequence[str], split: str, skipped: Sequence[Skipped]
) -> None:
    """Raises DatasetError where a class has no latent left among `labels`."""
    counts = torch.bincount(labels, minlength=len(generators)).tolist()
    empty = [name for name, count in zip(generators, counts, strict=True) if count == 0]
    if empty:
        example = f", the first because {skipped[0].path}: {skipped[0].reason}" if skipped else ""
        raise DatasetError(
            f"no readable image for {split} is left of {', '.join(empty)} ({len(skipped)} files skipped{example}): "
            "replace the unreadable files, or move the class away"
        )


def _skipped(path: Path, error: MediaError) -> Skipped:
    """The message of a MediaError begins with the file's name, which has a field of its own here."""
    return Skipped(printable(str(path)), str(error).removeprefix(f"{name_in_messages(str(path))}: "))
