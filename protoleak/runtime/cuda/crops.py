"""Faces out of a frame on the GPU: crop, antialiased resize and centre crop into the latent encoder's input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from protoleak.errors import MediaError
from protoleak.runtime.cuda.arrays import DeviceArray, DeviceArrayError, expect
from protoleak.runtime.cuda.device import CudaWorker

TILE_WIDTH, TILE_HEIGHT = 32, 8
THREADS = TILE_WIDTH * TILE_HEIGHT
PLAN_HEADER = 8
PLAN_EMPTY, PLAN_TOO_LARGE = 1, 2
LARGEST_COORDINATE = 2**24  # float32 counts pixels one by one up to here

ColourMatrix = Literal["bt601", "bt709"]
LUMA_WEIGHTS: dict[ColourMatrix, tuple[float, float]] = {  # of red and blue: ITU-R BT.601-7 and BT.709-6
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
}


@dataclass(frozen=True)
class BgrFrame:
    """An image on the device: uint8 [H, W, 3], channels blue, green, red; rows may be padded."""

    pixels: DeviceArray


@dataclass(frozen=True)
class Nv12Frame:
    """A video decoder's image on the device, limited range.

    Attributes:
        luma: uint8 [H, W]; rows may be padded.
        chroma: uint8 [H/2, W], U and V in turn; rows may be padded. A chroma sample stands for its four pixels.
        matrix: bt601 for standard definition, bt709 for high definition, unless the stream says otherwise.
    """

    luma: DeviceArray
    chroma: DeviceArray
    matrix: ColourMatrix = "bt709"


def colour_coefficients(matrix: ColourMatrix) -> tuple[int, int, int, int, int]:
    """Limited-range YUV to full-range RGB in 16-bit fixed point: Y of all, V of red, U and V of green, U of blue."""
    red, blue = LUMA_WEIGHTS[matrix]
    green = 1.0 - red - blue
    luma, chroma = 255 / 219, 255 / 224
    exact = (
        luma,
        2 * (1 - red) * chroma,
        -2 * blue * (1 - blue) / green * chroma,
        -2 * red * (1 - red) / green * chroma,
        2 * (1 - blue) * chroma,
    )
    first, red_v, green_u, green_v, blue_u = (round(value * 65536) for value in exact)
    return first, red_v, green_u, green_v, blue_u


def taps_for(largest_side: int, size: int) -> int:
    """Source pixels under one output pixel's filter, at most, where the short side of a box is ≤ `largest_side`."""
    # The long side's scale exceeds the short side's by less than 1/size of it, because its length is cut to an integer.
    scale = max(largest_side / size, 1.0) * (1 + 1 / size)
    return 2 * int(np.ceil(scale)) + 1


def checked_boxes(boxes: npt.ArrayLike, largest_side: int) -> npt.NDArray[np.float32]:
    """Boxes as float32 [N, 4]: left, top, right, bottom in pixels.

    Raises:
        MediaError: names the box that is empty, not finite, too far out, or larger than `largest_side` on both sides.
    """
    values = np.asarray(boxes, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != 4:
        raise MediaError(f"boxes have the shape {list(values.shape)}; expected [N, 4]: left, top, right, bottom")
    for index, (left, top, right, bottom) in enumerate(values.tolist()):
        if not (right > left and bottom > top and max(abs(value) for value in values[index]) < LARGEST_COORDINATE):
            raise MediaError(f"box {index} ({left:g}, {top:g}, {right:g}, {bottom:g}) is empty or not finite")
        if min(right - left, bottom - top) > largest_side:
            raise MediaError(
                f"box {index} is {right - left:g}×{bottom - top:g} pixels, and space was made for a short side of "
                f"{largest_side}: give a larger largest_side"
            )
    return values.astype(np.float32)


class CudaCrops:
    """Crops of frames for one worker. A box that leaves the frame is filled by reflection.

    For boxes of whole pixels the result is `runtime.preprocess.preprocess` of the crop, as Pillow computes it. For
    others it is Pillow's resize with `box=`, of the enclosing whole pixels. Equal to the last bit, or within one grey
    level where a box is more than about twice as high as wide: there Pillow's versions differ in the order of passes.

    Args:
        worker: where it runs.
        size: S of the latent encoder.
        largest_side: the longest short side of a box, in pixels, that space is made for.
    """

    def __init__(self, worker: CudaWorker, size: int, largest_side: int = 4096) -> None:
        self.worker, self.size, self.largest_side = worker, size, largest_side
        self.taps = taps_for(largest_side, size)
        self._plan_ints = PLAN_HEADER + 2 * (self.taps + 2) * size

    def output(self, batch_size: int) -> DeviceArray:
        """The worker's crops for a batch size: uint8 [N, S, S, 3], made once."""
        return self.worker.buffer("image", (batch_size, self.size, self.size, 3), np.uint8)

    def upload_boxes(self, boxes: npt.ArrayLike) -> DeviceArray:
        """Boxes from the host, checked: float32 [N, 4] on the device, in memory that is the same for each N.

        Raises:
            MediaError: a box cannot be cropped; see `checked_boxes`.
        """
        values = checked_boxes(boxes, self.largest_side)
        array = self.worker.buffer("boxes", values.shape, np.float32)
        self.worker.write(array, values)
        return array

    def enqueue(self, frame: BgrFrame | Nv12Frame, boxes: DeviceArray, image: DeviceArray) -> None:
        """Enqueues the kernels on the worker's stream. After one run per batch size it can be captured in a graph.

        Args:
            frame: on the device.
            boxes: float32 or int32 [N, 4]: left, top, right, bottom. What a detector left on the GPU isn't read back
                here; a box that is empty, not finite or too large gives zeros, and `check` names it.
            image: uint8 [N, S, S, 3], RGB; written.

        Raises:
            DeviceArrayError: names the array and the property that doesn't fit.
        """
        device = self.worker.ordinal
        expect("boxes", boxes, (None, 4), (np.float32, np.int32), device=device)
        faces = boxes.shape[0]
        expect("image", image, (faces, self.size, self.size, 3), (np.uint8,), device=device, written=True)
        first, second, height, width = _planes(frame, device)
        if not faces:
            return
        matrix = colour_coefficients(frame.matrix) if isinstance(frame, Nv12Frame) else (0,) * 5
        plans = self._plans(faces)
        shape = np.int32(self.size), np.int32(self.taps)
        integers = np.int32(boxes.dtype == np.int32)
        self.worker.launch(
            self.worker.kernel("crops", "crop_weights"), (faces,), THREADS, boxes, integers, *shape, plans
        )
        self.worker.launch(
            self.worker.kernel("crops", "crop_nv12" if isinstance(frame, Nv12Frame) else "crop_bgr"),
            (-(-self.size // TILE_WIDTH), -(-self.size // TILE_HEIGHT), faces),
            THREADS,
            first,
            second,
            np.int64(first.strides[0]),
            np.int64(second.strides[0]),
            np.int32(width),
            np.int32(height),
            *(np.int32(value) for value in matrix),
            plans,
            *shape,
            image,
        )

    def check(self, faces: int) -> None:
        """Waits for the last `enqueue` of that many boxes, and says which of them could not be cropped.

        Raises:
            MediaError: names the boxes by index.
        """
        status = self.worker.read(self._plans(faces))[:, 0]
        for code, reason in ((PLAN_EMPTY, "empty or not finite"), (PLAN_TOO_LARGE, "larger than space was made for")):
            wrong = np.flatnonzero(status == code)
            if wrong.size:
                raise MediaError(f"boxes {', '.join(map(str, wrong))} of {faces} are {reason}")

    def _plans(self, faces: int) -> DeviceArray:
        return self.worker.buffer("crop plans", (faces, self._plan_ints), np.int32)


def _planes(frame: BgrFrame | Nv12Frame, device: int) -> tuple[DeviceArray, DeviceArray, int, int]:
    """Both planes (BGR's second is its first, unread), height and width; checked."""
    if isinstance(frame, BgrFrame):
        pixels = expect("frame", frame.pixels, (None, None, 3), (np.uint8,), device=device, contiguous=False)
        _require_rows("frame", pixels, (3, 1))
        return pixels, pixels, pixels.shape[0], pixels.shape[1]
    luma = expect("luma", frame.luma, (None, None), (np.uint8,), device=device, contiguous=False)
    height, width = luma.shape
    if height % 2 or width % 2:
        raise DeviceArrayError(f"luma has the shape {[height, width]}; NV12 has even sides")
    chroma = expect("chroma", frame.chroma, (height // 2, width), (np.uint8,), device=device, contiguous=False)
    _require_rows("luma", luma, (1,))
    _require_rows("chroma", chroma, (1,))
    return luma, chroma, height, width


def _require_rows(name: str, array: DeviceArray, inner: Sequence[int]) -> None:
    if not all(array.shape[:2]):
        raise DeviceArrayError(f"{name} has the shape {list(array.shape)}: it holds no pixels")
    if array.strides[1:] != tuple(inner) or array.strides[0] < array.shape[1] * inner[0]:
        raise DeviceArrayError(
            f"{name} has strides of {list(array.strides)} bytes; expected rows of packed pixels, with padding only "
            "between rows"
        )
