"""Framing: the looks at one face that a verdict rests on. A bundle says which looks it was trained with.

- `image`: the whole image, short side to S and the centre cropped: the published preprocessing;
- `face`: the square around the face's box with a margin, resized to S;
- `native`: S×S pixels around the face, never resized, so that what a generator or a camera left at the scale of single
  pixels stays.

Where an image is too small for a square around the face, the square is moved into the image, and that of `face` is
reduced to it. Only `native` can reach over the border, in images with a side below S; the image goes on there as its
own mirror image: black bars would be edges that no generator made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protoleak.arrays import UInt8Array
from protoleak.choices import FACE_MARGIN, Look
from protoleak.images.preprocess import preprocess
from protoleak.images.resize import RgbImage

STAND_IN_SHARE = 0.4  # of the short side: the box's side where an image is judged whole and there is no face to look at


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of an image; it may reach over the border.

    Attributes:
        left, top: of its first pixel.
        width, height: > 0.
    """

    left: float
    top: float
    width: float
    height: float

    @property
    def area(self) -> float:
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        return self.left + self.width / 2, self.top + self.height / 2


@dataclass(frozen=True)
class Framing:
    """How an image becomes the network's input.

    Attributes:
        looks: in the order of the network's input, at least one, each once.
        image_size: S.
        margin: of the `face` look, as a share of the box's longer side on every side.
        upright: whether images are turned as their EXIF orientation says, so that faces are found.
    """

    looks: tuple[Look, ...] = ("image",)
    image_size: int = 256
    margin: float = FACE_MARGIN
    upright: bool = True

    @property
    def needs_face(self) -> bool:
        """Whether a look depends on where the face is."""
        return any(look != "image" for look in self.looks)

    def frame(self, image: RgbImage, face: Box | None) -> UInt8Array:
        """All looks at one face.

        Args:
            image: uint8 [H, W, 3] in RGB order, or a Pillow image of mode RGB.
            face: its box, without margin; None to judge the image whole, with its middle in the place of a face.

        Returns:
            uint8 [L, S, S, 3].
        """
        return self.frame_each(image, [face])[0]

    def frame_each(self, image: RgbImage, faces: Sequence[Box | None]) -> list[UInt8Array]:
        """All looks at each of several faces of one image, as `frame` gives them: what shows the whole image is made
        once for all of them."""
        pixels = np.asarray(image)
        whole = preprocess(pixels, self.image_size) if "image" in self.looks else None
        if whole is not None and len(faces) == len(self.looks) == 1 and _is_own(whole, pixels):
            return [np.ascontiguousarray(whole)[np.newaxis]]  # without a copy where the image was a usual one
        middle = stand_in(pixels.shape[1], pixels.shape[0])
        return [
            np.stack(
                [
                    whole if look == "image" and whole is not None else self._look(look, pixels, face or middle)
                    for look in self.looks
                ]
            )
            for face in faces
        ]

    def square(self, look: Look, width: int, height: int, face: Box) -> tuple[int, int, int]:
        """Left, top and side, in whole pixels, of what a look shows of an image of that size."""
        if look == "image":
            side = min(width, height)
            return (width - side) // 2, (height - side) // 2, side
        x, y = face.centre
        if look == "face":
            longer = max(face.width, face.height)
            side = min(max(1, round(longer * (1 + 2 * self.margin))), width, height)
            return _moved_inside(x, side, width), _moved_inside(y, side, height), side
        return _moved_inside(x, self.image_size, width), _moved_inside(y, self.image_size, height), self.image_size

    def judged_side(self, width: int, height: int, face: Box | None) -> int:
        """Side, in pixels of an image of that size, of the square that a verdict rests on: around the face, with its
        margin, where a look depends on it; else of the whole image.

        Args:
            face: as in `frame`.
        """
        look: Look = "face" if self.needs_face and face is not None else "image"
        return self.square(look, width, height, face or stand_in(width, height))[2]

    def _look(self, look: Look, pixels: UInt8Array, face: Box) -> UInt8Array:
        left, top, side = self.square(look, pixels.shape[1], pixels.shape[0], face)
        return preprocess(cut(pixels, left, top, side), self.image_size)


def _is_own(look: UInt8Array, image: UInt8Array) -> bool:
    """Whether a look can be given away: neither a part of the image nor Pillow's memory, which nobody may write to."""
    return look.flags.writeable and not np.may_share_memory(look, image)


def stand_in(width: int, height: int) -> Box:
    """The box that takes the place of a face in an image that is judged whole: in its middle."""
    side = STAND_IN_SHARE * min(width, height)
    return Box((width - side) / 2, (height - side) / 2, side, side)


def cut(pixels: UInt8Array, left: int, top: int, side: int) -> UInt8Array:
    """The square [side, side, 3] of uint8 [H, W, 3], a view where it lies inside; beyond the border the image goes on
    as its own mirror image."""
    height, width = pixels.shape[:2]
    if left >= 0 and top >= 0 and left + side <= width and top + side <= height:
        return pixels[top : top + side, left : left + side]
    return pixels[mirrored(top, side, height)[:, None], mirrored(left, side, width)]


def mirrored(start: int, count: int, length: int) -> npt.NDArray[np.intp]:
    """The pixel for each of `count` positions from `start` on an axis whose border pixels are repeated once."""
    positions = np.arange(start, start + count) % (2 * length)
    return np.where(positions < length, positions, 2 * length - 1 - positions)


def _moved_inside(centre: float, side: int, length: int) -> int:
    """Where a square begins that lies as near to `centre` as the image allows."""
    if length < side:
        return (length - side) // 2
    return min(max(round(centre - side / 2), 0), length - side)
