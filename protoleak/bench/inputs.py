"""The images that are timed, and those whose labels are known."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from protoleak.bundle.manifest import Manifest
from protoleak.dataset import SPLIT_FILE, generator_folders, list_images, read_dataset
from protoleak.errors import DatasetError

SIDE, QUALITY, COARSE = 512, 90, 16
Kind = Literal["camera", "generator", "other"]


@dataclass(frozen=True)
class Labelled:
    """One image of a data set.

    Attributes:
        kind: a camera original, by a generator of the bundle, or by another one.
        folder: the generator's name.
    """

    path: Path
    kind: Kind
    folder: str


def drawn_images(count: int) -> list[bytes]:
    """JPEGs of 512×512 with smooth shapes and some noise, always the same: as much work to decode as a photograph."""
    images = []
    for index in range(count):
        generator = np.random.default_rng([7, index])
        coarse = Image.fromarray(generator.integers(0, 256, (COARSE, COARSE, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float64)
        pixels = np.clip(smooth + generator.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY)
        images.append(buffer.getvalue())
    return images


def labelled_images(folder: Path, manifest: Manifest, real_class: str | None = None) -> list[Labelled]:
    """The images of a data set with one folder per generator: its test split where it has a Split.json, else all.

    Args:
        manifest: says which folders are generators that the bundle knows, and which one is its real class.
        real_class: another folder of camera originals, such as one from a source that training never saw.

    Raises:
        DatasetError: no folder with images, or no folder called `real_class`.
    """
    folders = generator_folders(folder, "--data")
    if (folder / SPLIT_FILE).is_file():
        dataset = read_dataset(folder)
        found = [(sample.path, dataset.generators[sample.label]) for sample in dataset.test]
    else:
        found = [(path, entry.name) for entry in folders for path in list_images(entry)]
    if not found:
        raise DatasetError(f"--data {folder}: no images in folders of it; give one that holds a folder per generator")
    if real_class is not None and real_class not in {name for _, name in found}:
        raise DatasetError(f"--real-class {real_class}: {folder} has no such folder with images")
    return [Labelled(path, _kind(name, manifest, real_class), name) for path, name in found]


def _kind(name: str, manifest: Manifest, real_class: str | None) -> Kind:
    if name in (real_class, manifest.real_class):
        return "camera"
    return "generator" if name in manifest.generators else "other"
