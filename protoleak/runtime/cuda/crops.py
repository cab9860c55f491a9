"""Faces out of a frame on the GPU: crop, antialiased resize and centre crop into the latent encoder's input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from protoleak.errors import MediaError
from protoleak.runtime.cuda.arrays import DeviceArray, DeviceArrayError, expect
from protoleak.runtime.cuda.device import CudaWorker

TILE_WIDTH, TILE_HEIGHT = 32, 8
THREADS = TILE_WIDTH * TILE_HEIGHT
PLAN_HEADER = 8
LARGEST_COORDINATE = 2**24  # Pillow's boxes are float32, which count pixels one by one up to here

Rectangle: TypeAlias = tuple[int, int, int, int]  # left, top, width, height in whole pixels


def taps_for(shortest_side: int, size: int) -> int:
    """Source pixels under one output pixel's filter, at most, for a rectangle whose shorter side has that length."""
    # The long side's scale exceeds the short side's by less than 1/size of it, because its length is cut to an integer.
    scale = max(shortest_side / size, 1.0) * (1 + 1 / size)
    return 2 * int(np.ceil(scale)) + 1


def checked_rectangles(rectangles: Sequence[Rectangle]) -> npt.NDArray[np.int32]:
    """int32 [N, 4].

    Raises:
        MediaError: names the rectangle that is empty or too far out.
    """
    for index, (left, top, width, height) in enumerate(rectangles):
        corners = (left, top, left + width, top + height)
        if width < 1 or height < 1 or max(map(abs, corners)) >= LARGEST_COORDINATE:
            raise MediaError(
                f"rectangle {index} of {width}×{height} pixels at {left},{top} is empty or lies too far out: give "
                f"sides of 1 pixel or more, within {LARGEST_COORDINATE} pixels of the frame"
            )
    return np.array(rectangles, np.int32).reshape(-1, 4)


class CudaCrops:
    """Crops of frames for one worker: `images.framing.cut` and `images.preprocess.preprocess` of whole-pixel
    rectangles, equal to the last bit. What lies outside the frame is its mirror image.

    Args:
        worker: where it runs.
        size: S of the latent encoder.
    """

    def __init__(self, worker: CudaWorker, size: int) -> None:
        self.worker, self.size = worker, size

    def upload(self, rectangles: Sequence[Rectangle]) -> tuple[DeviceArray, int]:
        """int32 [N, 4] on the device, in memory that is the same for each N, and the taps that `enqueue` needs.

        Raises:
            MediaError: see `checked_rectangles`.
        """
        values = checked_rectangles(rectangles)
        array = self.worker.buffer("rectangles", values.shape, np.int32)
        self.worker.write(array, values)
        # In powers of two, so that faces of all sizes share a few sizes of memory for the weights.
        shortest = max((min(width, height) for _, _, width, height in rectangles), default=1)
        return array, taps_for(1 << (max(shortest, self.size) - 1).bit_length(), self.size)

    def enqueue(self, frame: DeviceArray, rectangles: DeviceArray, taps: int, looks: DeviceArray) -> None:
        """Enqueues the kernels on the worker's stream. It neither waits nor copies, and allocates only for a new number
        of rectangles or taps.

        Args:
            frame: uint8 [H, W, 3] in RGB order; rows may be padded.
            rectangles, taps: as `upload` gives them.
            looks: uint8 [N, S, S, 3], RGB; written.

        Raises:
            DeviceArrayError: names the array and the property that doesn't fit.
        """
        device = self.worker.ordinal
        expect("rectangles", rectangles, (None, 4), (np.int32,), device=device)
        count = rectangles.shape[0]
        expect("looks", looks, (count, self.size, self.size, 3), (np.uint8,), device=device, written=True)
        expect("frame", frame, (None, None, 3), (np.uint8,), device=device, contiguous=False)
        _require_rows(frame)
        if not count:
            return
        plans = self.worker.buffer("crop plans", (count, PLAN_HEADER + 2 * (taps + 2) * self.size), np.int32)
        shape = np.int32(self.size), np.int32(taps)
        self.worker.launch(self.worker.kernel("crops", "crop_weights"), (count,), THREADS, rectangles, *shape, plans)
        self.worker.launch(
            self.worker.kernel("crops", "crop_rgb"),
            (-(-self.size // TILE_WIDTH), -(-self.size // TILE_HEIGHT), count),
            THREADS,
            frame,
            np.int64(frame.strides[0]),
            np.int32(frame.shape[1]),
            np.int32(frame.shape[0]),
            plans,
            *shape,
            looks,
        )


def _require_rows(frame: DeviceArray) -> None:
    if not all(frame.shape[:2]):
        raise DeviceArrayError(f"frame has the shape {list(frame.shape)}: it holds no pixels")
    if frame.strides[1:] != (3, 1) or frame.strides[0] < frame.shape[1] * 3:
        raise DeviceArrayError(
            f"frame has strides of {list(frame.strides)} bytes; expected rows of packed pixels, with padding only "
            "between rows"
        )
