"""The sets of images that serve an export: the splits of the data set, and others to measure on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from protoleak.arrays import UInt8Array
from protoleak.dataset import Dataset, Sample, auxiliary_images, generator_folders, list_images
from protoleak.errors import DatasetError, MediaError
from protoleak.faces.framer import Framer

T = TypeVar("T")


@dataclass(frozen=True)
class ImageSet:
    """Some images under one name.

    Attributes:
        name: a split, or what the folder is.
        folder: that files are named relative to.
        labels: int64 [n], indices of generators; zeros where the set has no generators.
    """

    name: str
    folder: Path
    paths: tuple[Path, ...]
    labels: npt.NDArray[np.int64]

    def lines(self, skipped: Iterable[tuple[int, str]]) -> list[str]:
        """One line per skipped file: set, name below the folder, and the reason. No machine's paths."""
        return [f"{self.name}: {self.paths[i].relative_to(self.folder).as_posix()}: {why}" for i, why in skipped]


def split(dataset: Dataset, name: str) -> ImageSet:
    """The split "train", "validation", "calibration" or "test"."""
    samples: tuple[Sample, ...] = getattr(dataset, name)
    labels = np.array([sample.label for sample in samples], dtype=np.int64)
    return ImageSet(name, dataset.folder, tuple(sample.path for sample in samples), labels)


def folder_of_images(name: str, folder: Path) -> ImageSet:
    """All images below a folder. Raises DatasetError where it holds none."""
    paths = list_images(folder)
    return ImageSet(name, folder, paths, np.zeros(len(paths), dtype=np.int64))


def unknown_generators(folder: Path) -> list[ImageSet]:
    """One set per folder in `folder`, or one of its own images where it has no folders.

    Raises:
        DatasetError: it is no folder, or a folder without an image.
    """
    return [folder_of_images(path.name, path) for path in generator_folders(folder) or [folder]]


def auxiliary_generators(folder: Path, dataset: Dataset) -> ImageSet:
    """The images of all auxiliary generators together. Raises DatasetError as `auxiliary_images`."""
    paths = tuple(path for images in auxiliary_images(folder, dataset).values() for path in images)
    return ImageSet("auxiliary", folder, paths, np.zeros(len(paths), dtype=np.int64))


def in_order_of(generators: Sequence[str], dataset: Dataset) -> Dataset:
    """The data set with its labels in a model's order of generators.

    Raises:
        DatasetError: it holds other generators than the model knows.
    """
    if sorted(generators) != sorted(dataset.generators):
        raise DatasetError(
            f"the model knows {list(generators)}, {dataset.folder} holds {list(dataset.generators)}: give the data set "
            "that it was trained on, with the same folder names"
        )
    labels = [list(generators).index(name) for name in dataset.generators]

    def relabelled(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        return tuple(replace(sample, label=labels[sample.label]) for sample in samples)

    return replace(
        dataset,
        generators=tuple(generators),
        train=relabelled(dataset.train),
        validation=relabelled(dataset.validation),
        calibration=relabelled(dataset.calibration),
        test=relabelled(dataset.test),
    )


def spread(items: Sequence[T], count: int) -> list[T]:
    """Up to `count` of the items, at even distances."""
    return [items[index * len(items) // count] for index in range(count)] if len(items) > count else list(items)


def spread_pixels(paths: Sequence[Path], count: int, framer: Framer) -> list[UInt8Array]:
    """Up to `count` of the readable images, from all over the list, so of every generator: uint8 [L, S, S, 3] each."""
    first = dict.fromkeys(spread(paths, count))
    pixels: list[UInt8Array] = []
    for path in [*first, *(path for path in paths if path not in first)]:
        if len(pixels) == count:
            break
        try:
            pixels.append(framer.file(path))
        except MediaError:
            continue  # counted and named when all calibration images are run
    return pixels
