"""Square crops of images: what is re-made, and what the networks are trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.progress import track

SIZE = 256
FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


def random_of(seed: int, purpose: str) -> np.random.Generator:
    """A stream of its own per purpose and image, so that none depends on how many were drawn before it."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return np.random.Generator(np.random.Philox(int.from_bytes(digest[:16], "big")))


def square_crop(image: Image.Image, random: np.random.Generator, smallest: float) -> Image.Image:
    """A random square, its side between `smallest` and 1 of the short side, resized to 256×256 by a random filter."""
    side = int(min(image.size) * random.uniform(smallest, 1.0))
    left = int(random.integers(0, image.width - side + 1))
    top = int(random.integers(0, image.height - side + 1))
    box = (left, top, left + side, top + side)
    return image.crop(box).resize((SIZE, SIZE), FILTERS[random.integers(len(FILTERS))])


def crops_of(paths: Sequence[Path], per_image: int, smallest: float, seed: int, purpose: str) -> npt.NDArray[np.uint8]:
    """`per_image` random crops of every image: uint8 [n, 256, 256, 3].

    A crop depends on the seed, the purpose, and the image's folder and name alone.
    """
    crops = []
    for path in track(paths, description=f"crops, {purpose}"):
        random = random_of(seed, f"{purpose}/{path.parent.name}/{path.name}")
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        crops += [np.asarray(square_crop(image, random, smallest)) for _ in range(per_image)]
    return np.stack(crops)
