"""A decoded image, which becomes upright RGB when somebody asks for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from protoleak.arrays import UInt8Array
from protoleak.errors import MediaError
from protoleak.video.sources.containers import MAXIMUM_PIXELS

if TYPE_CHECKING:
    from av import VideoFrame
    from av.buffer import Buffer

PQ, HLG = 16, 18  # transfer characteristics of HDR, ITU-T H.273 table 3


class RgbConverter:
    """Makes images of the frames of one stream; `notes` says what was found that one might not expect.

    YUV becomes RGB by the frame's own colour matrix and range (FFmpeg's swscale; BT.601 where it names none), with
    FFmpeg's default chroma interpolation. Nothing is deinterlaced, stretched or tone-mapped: that would write over the
    traces that are looked for.
    """

    def __init__(self, shown: str) -> None:
        from av.video.reformatter import VideoReformatter

        self.notes: list[str] = []
        self._shown = shown
        self._reformatter = VideoReformatter()
        self._converting = threading.Lock()  # swscale's context is for one thread at a time
        self._rotation: int | None = None
        self._matrix: Matrix | None = None

    def image(self, frame: VideoFrame) -> DecodedFrame:
        """The frame as what becomes RGB when somebody asks for it.

        Raises:
            MediaError: it has more pixels than are allowed.
        """
        if frame.width * frame.height > MAXIMUM_PIXELS:
            raise MediaError(
                f"{self._shown}: {frame.width}×{frame.height} pixels, more than the {MAXIMUM_PIXELS} allowed"
            )
        if frame.interlaced_frame:
            self._note("interlaced: left as it is")
        if int(frame.color_trc) in (PQ, HLG):
            self._note("HDR: converted to 8 bits without tone mapping")
        # PyAV ties a frame whose side data is read into a cycle, which keeps its image until Python's cyclic
        # collector comes: hundreds of them, hundreds of megabytes. The rotation is read without.
        if frame.rotation != self._rotation:
            self._rotation, self._matrix = frame.rotation, self._display_matrix(frame)
        return DecodedFrame(frame, self._matrix, self._rgb)

    def _rgb(self, frame: VideoFrame) -> UInt8Array:
        with self._converting:
            return self._reformatter.reformat(frame, format="rgb24").to_ndarray().astype(np.uint8, copy=False)

    def _display_matrix(self, frame: VideoFrame) -> Matrix | None:
        """That of the file, or None where there is none, it changes nothing, or it is not followed."""
        side_data = cast("Mapping[str, Buffer]", frame.side_data).get("DISPLAYMATRIX")  # PyAV's stubs name one kind
        if side_data is None:
            return None
        a, b, _, c, d = np.frombuffer(bytes(side_data), np.int32)[:5].tolist()
        if a > 0 and d > 0 and b == 0 and c == 0:
            return None
        matrix = Matrix(a, b, c, d)
        if not matrix.is_quarter_turn:
            self._note("turned by an angle that is no multiple of 90°: left as it is")
            return None
        self._note(_named(matrix.transposes, matrix.across < 0, matrix.down < 0))
        return matrix

    def _note(self, note: str) -> None:
        if note and note not in self.notes:
            self.notes.append(note)


@dataclass(frozen=True)
class Matrix:
    """A display matrix: x' = a·x + c·y, y' = b·x + d·y, with y downwards (ISO 14496-12, 8.3.2)."""

    a: int
    b: int
    c: int
    d: int

    @property
    def is_quarter_turn(self) -> bool:
        """Whether it turns by a multiple of 90°, mirrored or not."""
        upright = self.a and self.d and not self.b and not self.c
        return bool(upright or (self.b and self.c and not self.a and not self.d))

    @property
    def transposes(self) -> bool:
        return self.b != 0

    @property
    def across(self) -> int:
        """Below 0 where the image is mirrored, after it was transposed."""
        return self.c if self.transposes else self.a

    @property
    def down(self) -> int:
        """Below 0 where the image is upside down, after it was transposed."""
        return self.b if self.transposes else self.d

    def apply(self, image: UInt8Array) -> UInt8Array:
        """uint8 [H, W, 3] upright."""
        if self.transposes:
            image = image.transpose(1, 0, 2)
        if self.across < 0:
            image = image[:, ::-1]
        if self.down < 0:
            image = image[::-1]
        return np.ascontiguousarray(image)


class DecodedFrame:
    """See `frames.LazyImage`.

    Args:
        matrix: None where it is upright.
        convert: to uint8 [H, W, 3], for any thread.
    """

    def __init__(self, frame: VideoFrame, matrix: Matrix | None, convert: Callable[[VideoFrame], UInt8Array]) -> None:
        self._frame, self._matrix, self._convert = frame, matrix, convert
        self._image: UInt8Array | None = None
        self._lock = threading.Lock()
        transposed = matrix is not None and matrix.transposes
        self.shape = (frame.width, frame.height) if transposed else (frame.height, frame.width)

    def rgb(self) -> UInt8Array:
        with self._lock:
            if self._image is None:
                image = self._convert(self._frame)
                if self._matrix is not None:
                    image = self._matrix.apply(image)
                image.flags.writeable = False
                self._image = image
            return self._image

    def overview(self) -> UInt8Array:
        frame = self._frame
        luma, *others = frame.format.components
        plain = luma.is_luma and luma.bits == 8 and not frame.format.has_palette
        if not plain or any(other.plane == luma.plane for other in others):
            return self.rgb()  # its luma stands nowhere by itself, 8 bits a pixel
        plane = frame.planes[luma.plane]
        rows = np.frombuffer(memoryview(plane), np.uint8)[: plane.line_size * frame.height]
        shown: UInt8Array = rows.reshape(frame.height, plane.line_size)[:, : frame.width]
        return shown


def _named(transposed: bool, mirrored: bool, flipped: bool) -> str:
    if not transposed:
        return {
            (True, True): "turned by 180°",
            (True, False): "mirrored",
            (False, True): "flipped",
        }.get((mirrored, flipped), "")
    return {
        (True, False): "turned by 90° clockwise",
        (False, True): "turned by 90° anticlockwise",
    }.get((mirrored, flipped), "turned by 90° and mirrored")
