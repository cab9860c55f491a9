"""Images ready for the latent encoder, and how they go through it together."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

import numpy as np

from protoleak.arrays import UInt8Array
from protoleak.errors import MediaError
from protoleak.images.decode import OpenedImage
from protoleak.runtime.cuda.arrays import DeviceArray, packed_strides
from protoleak.runtime.verdict import InputRecord


@dataclass(frozen=True)
class PreparedImage:
    """An image ready for the latent encoder; the full image is let go, so that few large ones are in memory."""

    name: str
    source: str | None
    record: InputRecord
    notes: tuple[str, ...]
    pixels: UInt8Array | DeviceArray
    milliseconds: dict[str, float]


def adjoin(before: PreparedImage, after: PreparedImage) -> bool:
    """Whether two images can go through the line together: on the GPU, only where they lie behind one another."""
    first, second = before.pixels, after.pixels
    if isinstance(first, DeviceArray) and isinstance(second, DeviceArray):
        return first.owner is second.owner and second.pointer == first.pointer + first.bytes
    return isinstance(first, np.ndarray) and isinstance(second, np.ndarray)


def together(batch: Sequence[PreparedImage]) -> UInt8Array | DeviceArray:
    """uint8 [N, S, S, 3]; without a copy on the GPU."""
    first = batch[0].pixels
    if not isinstance(first, DeviceArray):
        return np.stack([one.pixels for one in batch if isinstance(one.pixels, np.ndarray)])
    shape = (len(batch), *first.shape)
    return replace(first, shape=shape, strides=packed_strides(shape, first.dtype))


def done(outcome: PreparedImage | MediaError) -> Future[PreparedImage | MediaError]:
    future: Future[PreparedImage | MediaError] = Future()
    future.set_result(outcome)
    return future


def input_record(opened: OpenedImage) -> InputRecord:
    width, height = opened.image.size
    return InputRecord(opened.sha256, opened.hashed, opened.size, width, height)
