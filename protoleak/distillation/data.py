"""What students learn from: views of images, and the teacher's latents of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from protoleak.arrays import Float32Array, UInt8Array
from protoleak.dataset import list_images
from protoleak.distillation.settings import ViewSettings
from protoleak.errors import DatasetError, MediaError
from protoleak.faces.framer import Framer
from protoleak.faces.largest import LargestFace
from protoleak.images.framing import Framing
from protoleak.model.latent_cache import LatentItem, cached_latents
from protoleak.model.latent_encoder import LatentEncoder
from protoleak.model.loading import loaded
from protoleak.progress import Progress, no_progress
from protoleak.training.provenance import content_hash
from protoleak.training.train import DEFAULT_FACE_MODEL
from protoleak.training.views import ViewSource, view_sources

MINIMUM_IMAGES = 10
PART = 16  # views that are made, and encoded, together


@dataclass(frozen=True)
class Views:
    """Views of some images, and what the teacher makes of them.

    Attributes:
        images: uint8 [n, S, S, 3], every look at every view, in a file that is gone when they are.
        latents: float32 [n, C, h, w].
        sources: how many images they are of.
    """

    images: UInt8Array
    latents: Float32Array
    sources: int


@dataclass(frozen=True)
class DistillationData:
    """The views that students learn from, and those of other images that they are measured on.

    Attributes:
        teacher: its fingerprint.
        data_hash: of the contents of all images that could be read.
        skipped: files that are no readable images, below the folder.
    """

    teacher: str
    settings: ViewSettings
    seen: Views
    unseen: Views
    data_hash: str
    skipped: list[str]


def prepare(
    teacher: LatentEncoder,
    folder: Path,
    settings: ViewSettings,
    cache: Path | None = None,
    workers: int = 0,
    progress: Progress = no_progress,
    face_model: Path = DEFAULT_FACE_MODEL,
) -> DistillationData:
    """Makes the views of all images below `folder`, and asks the teacher where its latent isn't cached yet.

    Args:
        cache: folder of cached latents, or None to keep none.
        workers: processes that make views; 0 for threads.
        face_model: a YuNet ONNX file, used where a look depends on the face.

    Raises:
        DatasetError: fewer than ten readable images.
        EngineError: the teacher gives a latent that is not finite.
    """
    paths = list_images(folder)
    if len(paths) < MINIMUM_IMAGES:
        raise DatasetError(f"{folder} holds {len(paths)} images: distillation needs at least {MINIMUM_IMAGES}")
    order = np.random.Generator(np.random.Philox(settings.seed)).permutation(len(paths))
    held = set(order[: max(2, round(settings.held_out * len(paths)))].tolist())
    framing = settings.framing
    framer = Framer(framing, LargestFace(face_model) if framing.needs_face else None)
    sources: dict[Path, list[ViewSource]] = {}
    for path in paths:
        try:
            sources[path] = view_sources(path, settings.views, settings.seed, framer, settings.operator_share)
        except MediaError:
            continue
    parts: dict[bool, Views] = {}
    readable: list[Path] = []
    for is_held in (False, True):
        chosen = [path for index, path in enumerate(paths) if (index in held) == is_held and path in sources]
        of_chosen = [sources[path] for path in chosen]
        purpose = "measure with" if is_held else "learn from"
        report = partial(_report, progress, f"views to {purpose}", sum(len(views) for views in of_chosen))
        images, kept = _images(of_chosen, framing, workers, report)
        views = [view for position in kept for view in of_chosen[position]]
        items = [LatentItem(view.key, partial(_view, images, index)) for index, view in enumerate(views)]
        report = partial(_report, progress, f"the teacher's latents to {purpose}", len(items))
        encoded = cached_latents(teacher, items, cache, PART, report)
        looks = len(items) * len(framing.looks)  # in the order of the views
        latents = encoded.latents.reshape(looks, *encoded.latents.shape[2:])
        parts[is_held] = Views(images.reshape(looks, *images.shape[2:]), latents, len(kept))
        readable += [chosen[position] for position in kept]
    if len(readable) < MINIMUM_IMAGES or not all(len(part.images) for part in parts.values()):
        raise DatasetError(
            f"{folder} holds {len(readable)} readable images of {len(paths)}: distillation needs at least "
            f"{MINIMUM_IMAGES}, some of them to train with and some to measure with"
        )
    return DistillationData(
        teacher.fingerprint,
        settings,
        parts[False],
        parts[True],
        content_hash(sources[path][0].sha256 for path in readable),
        [path.relative_to(folder).as_posix() for path in paths if path not in set(readable)],
    )


def _images(
    sources: Sequence[Sequence[ViewSource]], framing: Framing, workers: int, report: Callable[[int], None]
) -> tuple[UInt8Array, list[int]]:
    """The views uint8 [n, L, S, S, 3] of the images that can be read, and the positions of these.

    They lie in a file without a name, since thousands of views fill the memory of a small machine.
    """
    flat = [view for views in sources for view in views]
    shape = len(framing.looks), framing.image_size, framing.image_size, 3
    of = [position for position, views in enumerate(sources) for _ in views]
    if not flat:
        return np.zeros((0, *shape), dtype=np.uint8), []
    with tempfile.TemporaryFile() as file:
        images: UInt8Array = np.memmap(file, dtype=np.uint8, mode="w+", shape=(len(flat), *shape))
    broken: set[int] = set()
    index = 0
    for part in loaded(flat, PART, workers):
        for made in part:
            if isinstance(made, MediaError):
                broken.add(of[index])
            else:
                images[index] = made
            index += 1
        report(index)
    if broken:  # the images that can be read move together
        kept = [at for at, position in enumerate(of) if position not in broken]
        for target, at in enumerate(kept):
            images[target] = images[at]
        images = images[: len(kept)]
    return images, [position for position in range(len(sources)) if position not in broken]


def _report(progress: Progress, stage: str, total: int, done: int) -> None:
    progress(stage, done, total)


def _view(images: UInt8Array, index: int) -> UInt8Array:
    view: UInt8Array = images[index]
    return view
