"""A decoded image as upright RGB."""

from __future__ import annotations

from collections.abc import Mapping
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
    """Converts the frames of one stream; `notes` says what was done that one might not expect.

    YUV becomes RGB by the frame's own colour matrix and range (FFmpeg's swscale; BT.601 where it names none), with
    FFmpeg's default chroma interpolation. Nothing is deinterlaced, stretched or tone-mapped: that would write over the
    traces that are looked for.
    """

    def __init__(self, shown: str) -> None:
        from av.video.reformatter import VideoReformatter

        self.notes: list[str] = []
        self._shown = shown
        self._reformatter = VideoReformatter()
        self._rotation: int | None = None
        self._matrix: tuple[int, int, int, int] | None = None

    def convert(self, frame: VideoFrame) -> UInt8Array:
        """uint8 [H, W, 3] in RGB, as it is meant to be seen, not writable.

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
            self._rotation, self._matrix = frame.rotation, _display_matrix(frame)
        matrix = self._matrix
        rgb = self._reformatter.reformat(frame, format="rgb24").to_ndarray()
        image = rgb.astype(np.uint8, copy=False)
        if matrix is not None:
            image = self._turned(image, matrix)
        image.flags.writeable = False
        return image

    def _turned(self, image: UInt8Array, matrix: tuple[int, int, int, int]) -> UInt8Array:
        """Applies a display matrix: x' = a·x + c·y, y' = b·x + d·y, with y downwards (ISO 14496-12, 8.3.2)."""
        a, b, c, d = matrix
        if a and d and not b and not c:
            across, down = a, d
        elif b and c and not a and not d:
            image = image.transpose(1, 0, 2)
            across, down = c, b
        else:
            self._note("turned by an angle that is no multiple of 90°: left as it is")
            return image
        if across < 0:
            image = image[:, ::-1]
        if down < 0:
            image = image[::-1]
        self._note(_named(b != 0, across < 0, down < 0))
        return np.ascontiguousarray(image)

    def _note(self, note: str) -> None:
        if note and note not in self.notes:
            self.notes.append(note)


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int] | None:
    """a, b, c, d of the matrix in the file, or None where there is none or it changes nothing."""
    side_data = cast("Mapping[str, Buffer]", frame.side_data).get("DISPLAYMATRIX")  # PyAV's stubs name one kind only
    if side_data is None:
        return None
    a, b, _, c, d = np.frombuffer(bytes(side_data), np.int32)[:5].tolist()
    return None if a > 0 and d > 0 and b == 0 and c == 0 else (a, b, c, d)


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
