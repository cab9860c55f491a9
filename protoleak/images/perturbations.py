"""What happens to images on their way: compressions, crops, resizings and others, at five severities each.

The operators are those of WILD (arXiv 2504.19595), which post-processes half of its images by chains of one to three,
less its two that need networks of their own (super-resolution and JPEG-AI), and two of videos. They serve training, as
augmentation, and evaluation, as the question how far a verdict survives. Pure functions: NumPy, Pillow and OpenCV, and
PyAV for those of videos.

Each operator takes uint8 [H, W, 3] in RGB order, one number, and a random generator, which is asked only for what
an image's fate leaves open: where it is cropped, which way it is turned, whether it gets darker or brighter, the noise.
None of them changes the array that it is given.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
from PIL import Image

from protoleak.arrays import UInt8Array
from protoleak.errors import MediaError, ProtoleakError
from protoleak.images.decode import MINIMUM_SIDE  # below it an image is refused
from protoleak.images.video_codecs import through_video

SEVERITIES = (1, 2, 3, 4, 5)


def jpeg(image: UInt8Array, quality: float, random: np.random.Generator) -> UInt8Array:  # noqa: ARG001
    """Through a JPEG of that quality, with the chroma at half its size as nearly everywhere."""
    return _through(image, "JPEG", quality=int(quality), subsampling="4:2:0")


def webp(image: UInt8Array, quality: float, random: np.random.Generator) -> UInt8Array:  # noqa: ARG001
    """Through a lossy WebP of that quality."""
    return _through(image, "WEBP", quality=int(quality))


def crop(image: UInt8Array, share: float, random: np.random.Generator) -> UInt8Array:
    """A part of the image anywhere in it, with that share of each side; smaller than before."""
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
    return min(side, max(MINIMUM_SIDE, round(share * side)))


def _either_way(factor: float, random: np.random.Generator) -> float:
    return factor if random.random() < 0.5 else 1 / factor


def h264(image: UInt8Array, factor: float, random: np.random.Generator) -> UInt8Array:
    """An inter frame of a video in H.264 at that rate factor, in which the image moves a few pixels a frame. Needs
    PyAV, as the extra `video` brings it; an odd last row or column is left out."""
    return through_video(image, "libx264", int(factor), _shift(random))


def h265(image: UInt8Array, factor: float, random: np.random.Generator) -> UInt8Array:
    """As `h264`, in H.265."""
    return through_video(image, "libx265", int(factor), _shift(random))


def _shift(random: np.random.Generator) -> tuple[int, int]:
    return int(random.integers(-3, 4)), int(random.integers(-3, 4))


def _grey(image: UInt8Array) -> npt.NDArray[np.float32]:
    return image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)


def _to_bytes(values: npt.NDArray[np.float32]) -> UInt8Array:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _through(image: UInt8Array, codec: str, **settings: int | str) -> UInt8Array:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, codec, **settings)
    with Image.open(buffer) as read:
        return np.asarray(read.convert("RGB"))


@dataclass(frozen=True)
class Operator:
    """One operator.

    Attributes:
        name: its key in OPERATORS.
        unit: what the levels are.
        levels: one number per severity, from the mildest to the hardest.
        function: (image, level, random) → image, one of those above.
    """

    name: str
    unit: str
    levels: tuple[float, float, float, float, float]
    function: Callable[[UInt8Array, float, np.random.Generator], UInt8Array]


# WILD names its operators but not their strengths. These run from what nobody sees to what spoils the image.
OPERATORS = MappingProxyType(
    {
        operator.name: operator
        for operator in (
            Operator("jpeg", "quality", (90, 75, 60, 40, 20), jpeg),
            Operator("webp", "quality", (90, 75, 60, 40, 20), webp),
            Operator("crop", "share of each side", (0.95, 0.9, 0.8, 0.65, 0.5), crop),
            Operator("resize", "share of each side", (0.9, 0.75, 0.5, 0.35, 0.25), resize),
            Operator("rotation", "degrees", (1, 3, 6, 10, 20), rotation),
            Operator("contrast", "factor", (1.1, 1.25, 1.5, 1.75, 2.0), contrast),
            Operator("brightness", "factor", (1.1, 1.2, 1.35, 1.5, 1.75), brightness),
            Operator("blur", "σ in pixels", (0.5, 0.75, 1.0, 1.5, 2.5), blur),
            Operator("greyscale", "share of the way", (0.2, 0.4, 0.6, 0.8, 1.0), greyscale),
            Operator("noise", "σ in grey levels", (2, 4, 8, 12, 20), noise),
            Operator("h264", "constant rate factor", (18, 23, 28, 33, 38), h264),
            Operator("h265", "constant rate factor", (18, 23, 28, 33, 38), h265),
        )
    }
)
# Those that a still image meets as it is passed around, and that chains are drawn from: WILD's.
OF_STILLS = tuple(name for name in OPERATORS if name not in ("h264", "h265"))


def apply(name: str, severity: int, image: UInt8Array, random: np.random.Generator) -> UInt8Array:
    """An image after one operator.

    Args:
        name: one of OPERATORS.
        severity: 1 to 5.
        image: uint8 [H, W, 3] in RGB order; left as it is.
        random: for what the operator leaves open; the same state gives the same image.

    Returns:
        uint8 [H', W', 3]; smaller after crop and resize, by no side below 32 pixels (or what it had).

    Raises:
        ProtoleakError: no such operator or severity.
        MediaError: the image is something else.
    """
    if name not in OPERATORS:
        raise ProtoleakError(f"there is no operator {name!r}: choose one of {', '.join(OPERATORS)}")
    if severity not in SEVERITIES:
        raise ProtoleakError(f"severity {severity}: give one from {SEVERITIES[0]} to {SEVERITIES[-1]}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise MediaError(f"{image.dtype} {list(image.shape)}: an operator takes uint8 [H, W, 3] in RGB order")
    operator = OPERATORS[name]
    return operator.function(image, operator.levels[severity - 1], random)


class Step(msgspec.Struct, frozen=True):
    """One operator of OPERATORS at a severity from 1 to 5."""

    operator: str
    severity: int


def apply_chain(chain: Sequence[Step], image: UInt8Array, random: np.random.Generator) -> UInt8Array:
    """An image after the operators in their order; the image itself after none. Arguments and errors as `apply`."""
    for step in chain:
        image = apply(step.operator, step.severity, image, random)
    return image


def draw_chain(
    random: np.random.Generator,
    max_length: int = 3,
    *,
    length: int | None = None,
    severities: Sequence[int] = SEVERITIES,
) -> tuple[Step, ...]:
    """A chain of different operators, each as likely as any other, at severities drawn for each.

    Args:
        random: the same state gives the same chain.
        max_length: the length is drawn from 1 to this.
        length: to fix it.
        severities: to draw from, such as (1, 2, 3) for training that is not to drown in spoilt images.

    Raises:
        ProtoleakError: a length below 1 or above the number of operators, or a severity that there isn't.
    """
    longest = max_length if length is None else length
    if not 1 <= longest <= len(OF_STILLS):
        raise ProtoleakError(f"a chain of {longest} operators: give 1 to {len(OF_STILLS)}, there are no more")
    if not severities or not set(severities) <= set(SEVERITIES):
        raise ProtoleakError(f"severities {list(severities)}: give some from {SEVERITIES[0]} to {SEVERITIES[-1]}")
    count = int(random.integers(1, longest + 1)) if length is None else length
    chosen = random.choice(len(OF_STILLS), size=count, replace=False)
    return tuple(Step(OF_STILLS[index], int(severities[int(random.integers(len(severities)))])) for index in chosen)
