"""Views of a training image: the image as it is deployed, and what may have happened to it on its way.

Generators deliver images of one size, framing and file format each. A network that sees them only so learns these in
place of the generator's trace; random crops, sizes and compressions take them away. Other views go through chains of
operators (`images.perturbations`), as WILD post-processes its images, so that the trace is learnt as far as it
survives them. All happens before the latent encoder.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import msgspec
import numpy as np
from PIL import Image

from protoleak.arrays import UInt8Array
from protoleak.errors import MediaError
from protoleak.faces.base import Face
from protoleak.faces.framer import Framer
from protoleak.images.perturbations import Step, apply_chain, draw_chain
from protoleak.images.sources import name_in_messages
from protoleak.model.latent_cache import DEPLOYED_VIEW, latent_key
from protoleak.model.loading import THREADS
from protoleak.training.face_views.draw import draw_face_view
from protoleak.training.face_views.view import FaceView

Filter = Literal["bilinear", "bicubic", "lanczos", "box"]
Codec = Literal["JPEG", "WEBP"]

SMALLEST_CROP, SMALLEST_CROP_PIXELS = 0.35, 32
SMALLEST_SIZE, LARGEST_SIZE = 96, 512
RESIZE_PROBABILITY, COMPRESS_PROBABILITY = 0.7, 0.6
LOWEST_QUALITY, HIGHEST_QUALITY = 50, 96
FILTERS: tuple[Filter, ...] = get_args(Filter)
CODECS: tuple[Codec, ...] = get_args(Codec)
RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}


class View(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is done to an image before the deployed preprocessing; the default is nothing, as deployed.

    Attributes:
        crop: side of a square as a share of the short side, then its left and top as shares of the room that is left;
            None for the whole image.
        flip: mirrored left to right.
        size, filter: the side in pixels that the image is resized to, and how; None for no resizing.
        codec, quality: of a lossy round trip; None for none.
        chain: operators after all that, in their order.
        chain_seed: of what these leave open, such as where is cropped; below 2⁶³.
    """

    crop: tuple[float, float, float] | None = None
    flip: bool = False
    size: int | None = None
    filter: Filter | None = None
    codec: Codec | None = None
    quality: int | None = None
    chain: tuple[Step, ...] = ()
    chain_seed: int = 0

    @property
    def name(self) -> str:
        """Names everything that is done: with the file's hash and the side S, the key of a cached latent."""
        return msgspec.json.encode(self).decode()

    def made(self, image: Image.Image) -> Image.Image:
        """The view of an RGB image, before it is framed."""
        if self.crop is not None:
            image = _square(image, *self.crop)
        if self.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.size is not None and self.filter is not None:
            image = image.resize((self.size, self.size), RESAMPLING[self.filter])
        if self.codec is not None and self.quality is not None:
            buffer = io.BytesIO()
            image.save(buffer, self.codec, quality=self.quality)
            image = Image.open(buffer).convert("RGB")
        if self.chain:
            random = np.random.Generator(np.random.Philox(key=self.chain_seed))
            image = Image.fromarray(apply_chain(self.chain, np.asarray(image), random))
        return image


def draw_view(seed: int, sha256: str, index: int, operator_share: float) -> View:
    """View number `index` of the image with that content; the same arguments give the same view.

    Args:
        operator_share: probability that a view is one of the whole image after one to three operators of any
            severity, and not one of a random crop, size and compression.
    """
    name = f"{seed} {sha256} {index}".encode()
    key = np.frombuffer(hashlib.sha256(name).digest()[:16], dtype=np.uint64)
    random = np.random.Generator(np.random.Philox(key=key))
    if random.random() < operator_share:
        flip = bool(random.random() < 0.5)
        return View(flip=flip, chain=draw_chain(random), chain_seed=int(random.integers(2**63 - 1)))
    side, left, top = (round(float(value), 4) for value in random.uniform([SMALLEST_CROP, 0, 0], [1, 1, 1]))
    resized = bool(random.random() < RESIZE_PROBABILITY)
    compressed = bool(random.random() < COMPRESS_PROBABILITY)
    return View(
        crop=(side, left, top),
        flip=bool(random.random() < 0.5),
        size=int(random.integers(SMALLEST_SIZE, LARGEST_SIZE + 1)) if resized else None,
        filter=FILTERS[int(random.integers(len(FILTERS)))] if resized else None,
        codec=CODECS[int(random.integers(len(CODECS)))] if compressed else None,
        quality=int(random.integers(LOWEST_QUALITY, HIGHEST_QUALITY + 1)) if compressed else None,
    )


@dataclass(frozen=True)
class ViewSource:
    """One view of one image file, made when it is called.

    Attributes:
        sha256: of the file's bytes when it was listed.
        view: a `FaceView` where a look depends on the face, else a `View`; None for the image as it is deployed.
    """

    path: Path
    sha256: str
    view: View | FaceView | None
    framer: Framer

    def __call__(self) -> UInt8Array:
        """The looks, uint8 [L, S, S, 3]. Raises MediaError where the file is no readable image, holds no face where one
        is needed, or is another one by now."""
        image, face = _image(self.path, self.sha256, self.framer)
        if isinstance(self.view, FaceView) and face is not None:
            made, moved = self.view.made(np.asarray(image), face)
            return self.framer.frame(Image.fromarray(made), moved)
        if isinstance(self.view, View):
            image = self.view.made(image)
        return self.framer.frame(image, face)

    @property
    def key(self) -> str:
        """Of the view's latents in the cache."""
        view = DEPLOYED_VIEW if self.view is None else self.view.name
        return latent_key(self.sha256, view, self.framer.framing, self.framer.face_model)


def view_sources(path: Path, views: int, seed: int, framer: Framer, operator_share: float) -> list[ViewSource]:
    """An image file as it is deployed, then `views` more views of it.

    Args:
        operator_share: see `draw_view`; views of faces have operators of their own.

    Raises:
        MediaError: the file cannot be read.
    """
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise MediaError(f"{name_in_messages(str(path))}: cannot be read: {error.strerror or error}") from error
    drawn: list[View | FaceView | None] = [None]
    for index in range(1, views + 1):
        of_faces = framer.framing.needs_face
        drawn.append(
            draw_face_view(seed, sha256, index) if of_faces else draw_view(seed, sha256, index, operator_share)
        )
    return [ViewSource(path, sha256, view, framer) for view in drawn]


# The views of an image are asked for one after another: it is decoded once for all of them, in each thread.
@lru_cache(maxsize=2 * THREADS)
def _image(path: Path, sha256: str, framer: Framer) -> tuple[Image.Image, Face | None]:
    opened, face = framer.open(path)
    if opened.sha256 != sha256:
        raise MediaError(f"{opened.name}: was changed while the images were read: run again")
    return opened.image, face


def _square(image: Image.Image, side_share: float, left_share: float, top_share: float) -> Image.Image:
    short = min(image.size)
    side = min(short, max(SMALLEST_CROP_PIXELS, round(side_share * short)))
    left, top = round(left_share * (image.width - side)), round(top_share * (image.height - side))
    return image.crop((left, top, left + side, top + side))
