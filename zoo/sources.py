"""The images that all generators start from, and which split each belongs to.

A source image belongs to one split, and so does everything that is made from it (crops, reconstructions), so that no
content is shared between training, calibration and test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from protoleak.errors import DatasetError

SPLIT_SHARES = (("train", 0.52), ("val", 0.08), ("calibration", 0.20), ("test", 0.20))
SPLITS = tuple(split for split, _ in SPLIT_SHARES)
SUFFIXES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True)
class Source:
    """One image, the collection it comes from, and its split."""

    path: Path
    collection: str
    split: str

    @property
    def name(self) -> str:
        """A file stem that is unique over all collections."""
        return f"{self.collection}_{self.path.stem}"


def split_of(name: str) -> str:
    """The split of an image: a fixed function of its name, uniform in [0, 1) cut at the shares."""
    position = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    for split, share in SPLIT_SHARES:
        if position < share:
            return split
        position -= share
    return SPLIT_SHARES[-1][0]


def read_collection(folder: Path, collection: str) -> list[Source]:
    """All images of one folder, sorted by name.

    Raises:
        DatasetError: there is none.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise DatasetError(f"{folder} holds no image: give the folder that has the collection {folder.name}")
    return [Source(path, collection, split_of(f"{collection}/{path.name}")) for path in paths]


def photographs(folder: Path) -> Iterator[Path]:
    """Photographs in a folder of desktop backgrounds: JPEG files that are not flat drawings.

    Backgrounds under free licences come as photographs and as vector art. Drawings are told apart by their few colours.
    """
    for path in sorted(folder.rglob("*.jpg")):
        with Image.open(path) as image:
            small = np.asarray(image.convert("RGB").resize((128, 128), Image.Resampling.BOX))
        if len(np.unique(small.reshape(-1, 3), axis=0)) > 4000:
            yield path
