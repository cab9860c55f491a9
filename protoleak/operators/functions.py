"""The operators themselves: each takes uint8 [H, W, 3] in RGB order, one number, and a random generator.

A generator is asked only for what a picture's fate leaves open: where it is cropped, which way it is turned, whether it
gets darker or brighter, and the noise. None of them changes the array that it is given.
"""

from __future__ import annotations

import io

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

UInt8Array = npt.NDArray[np.uint8]

SMALLEST_SIDE = 32  # pixels: below it a picture is refused as no face, see runtime.media


def jpeg(image: UInt8Array, quality: float, random: np.random.Generator) -> UInt8Array:  # noqa: ARG001
    """Through a JPEG of that quality, with the chroma at half its size as nearly everywhere."""
    return _through(image, "JPEG", quality=int(quality), subsampling="4:2:0")


def webp(image: UInt8Array, quality: float, random: np.random.Generator) -> UInt8Array:  # noqa: ARG001
    """Through a lossy WebP of that quality."""
    return _through(image, "WEBP", quality=int(quality))


def crop(image: UInt8Array, share: float, random: np.random.Generator) -> UInt8Array:
    """A part of the picture anywhere in it, with that share of each side; smaller than before."""
    height, width = (_kept(side, share) for side in image.shape[:2])
    top = int(random.integers(image.shape[0] - height + 1))
    left = int(random.integers(image.shape[1] - width + 1))
    return np.array(image[top : top + height, left : left + width])


def resize(image: UInt8Array, share: float, random: np.random.Generator) -> UInt8Array:  # noqa: ARG001
    """Each side to that share of itself, with Pillow's bicubic filter; smaller than before."""
    height, width = (_kept(side, share) for side in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def rotation(image: UInt8Array, degrees: float, random: np.random.Generator) -> UInt8Array:
    """Turned about its middle, either way, with bicubic interpolation; the corners are filled by reflection."""
    height, width = image.shape[:2]
    angle = degrees * (1 if random.random() < 0.5 else -1)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    turned = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(turned, dtype=np.uint8)


def contrast(image: UInt8Array, factor: float, random: np.random.Generator) -> UInt8Array:
    """Distances from the mean grey level times the factor, or divided by it."""
    mean = float(_grey(image).mean())
    return _to_bytes(mean + _either_way(factor, random) * (image.astype(np.float32) - mean))


def brightness(image: UInt8Array, factor: float, random: np.random.Generator) -> UInt8Array:
    """All values times the factor, or divided by it."""
    return _to_bytes(_either_way(factor, random) * image.astype(np.float32))


def blur(image: UInt8Array, sigma: float, random: np.random.Generator) -> UInt8Array:  # noqa: ARG001
    """Gaussian blur of that standard deviation in pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101), dtype=np.uint8)


def greyscale(image: UInt8Array, share: float, random: np.random.Generator) -> UInt8Array:  # noqa: ARG001
    """That share of the way to grey (ITU-R BT.601 luma); still three channels."""
    colour = image.astype(np.float32)
    return _to_bytes(colour + share * (_grey(image)[..., None] - colour))


def noise(image: UInt8Array, sigma: float, random: np.random.Generator) -> UInt8Array:
    """Plus independent Gaussian noise of that standard deviation in grey levels."""
    return _to_bytes(image.astype(np.float32) + random.normal(0.0, sigma, image.shape).astype(np.float32))


def _kept(side: int, share: float) -> int:
    return min(side, max(SMALLEST_SIDE, round(share * side)))


def _either_way(factor: float, random: np.random.Generator) -> float:
    return factor if random.random() < 0.5 else 1 / factor


def _grey(image: UInt8Array) -> npt.NDArray[np.float32]:
    return image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)


def _to_bytes(values: npt.NDArray[np.float32]) -> UInt8Array:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _through(image: UInt8Array, codec: str, **settings: int | str) -> UInt8Array:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, codec, **settings)
    with Image.open(buffer) as read:
        return np.asarray(read.convert("RGB"))
