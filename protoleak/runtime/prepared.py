"""Images on their way to the engines: framed, with a record of what they were, and joined to batches."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from protoleak.arrays import UInt8Array
from protoleak.images.claims.claim import Claim
from protoleak.images.content import lacking
from protoleak.images.framing import Framing
from protoleak.images.open import OpenedImage
from protoleak.images.resize import RgbImage, size_of
from protoleak.runtime.cuda.arrays import DeviceArray, packed_strides
from protoleak.runtime.verdict import InputRecord


@dataclass(frozen=True)
class FramedFace:
    """A face that is framed already, as `Framing.frame` does it.

    Attributes:
        pixels: uint8 [L, S, S, 3] in RGB order: the looks of the bundle, in its order.
        lacking: why it holds too little to judge, see `images.content`; None where there is enough.
        array: the same pixels on the GPU, where `ImagePipeline.frame_on_gpu` left them; None elsewhere.
    """

    pixels: UInt8Array
    lacking: str | None = None
    array: DeviceArray | None = None


@dataclass(frozen=True)
class Prepared:
    """An image ready for the latent encoder; the full image is let go, so that few large ones are in memory. Made by
    `ImagePipeline.prepare`, for `ImagePipeline.judge` of the same bundle.

    Attributes:
        name: what messages call it.
        source: the path as given; None for an image from memory.
        record: what is judged, for the verdict.
        notes: what was converted on the way to RGB.
        pixels: uint8 [L, S, S, 3]: the looks of the bundle.
        lacking: why it holds too little to judge; None where there is enough.
        milliseconds: stage → wall time so far.
        claims: what the file says of its own origin.
    """

    name: str
    source: str | None
    record: InputRecord
    notes: tuple[str, ...]
    pixels: UInt8Array | DeviceArray
    lacking: str | None
    milliseconds: dict[str, float]
    claims: tuple[Claim, ...] = ()


def framed_whole(framing: Framing, image: RgbImage) -> FramedFace:
    """An image that is judged whole, whatever it shows: its middle stands for a face where a look depends on one.

    Args:
        image: uint8 [H, W, 3] in RGB order, or a Pillow image of mode RGB.
    """
    height, width = size_of(image)
    pixels = framing.frame(image, None)
    return FramedFace(pixels, lacking(pixels, framing.judged_side(width, height, None)))


def pixels_record(pixels: UInt8Array) -> InputRecord:
    """What verdicts say of a face that came framed: uint8 [L, S, S, 3]."""
    return InputRecord(
        hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest(),
        "pixels",
        pixels.nbytes,
        pixels.shape[2],
        pixels.shape[1],
    )


def opened_record(opened: OpenedImage) -> InputRecord:
    """What verdicts say of an image that was opened."""
    return InputRecord(opened.sha256, opened.hashed, opened.size, opened.width, opened.height)


def lie_together(before: Prepared, after: Prepared) -> bool:
    """Whether two images can go through the engines together: on the GPU, only where they lie behind one another."""
    first, second = before.pixels, after.pixels
    if isinstance(first, DeviceArray) and isinstance(second, DeviceArray):
        return first.owner is second.owner and second.pointer == first.pointer + first.bytes
    return isinstance(first, np.ndarray) and isinstance(second, np.ndarray)


def joined_pixels(batch: Sequence[Prepared]) -> UInt8Array | DeviceArray:
    """uint8 [N·L, S, S, 3]; without a copy on the GPU."""
    first = batch[0].pixels
    if not isinstance(first, DeviceArray):
        if len(batch) == 1:
            return first
        return np.concatenate([one.pixels for one in batch if isinstance(one.pixels, np.ndarray)])
    shape = (len(batch) * first.shape[0], *first.shape[1:])
    return replace(first, shape=shape, strides=packed_strides(shape, first.dtype))
