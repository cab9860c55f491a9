"""An image as a frame of a compressed video: what H.264 or H.265 keeps of it. Needs PyAV."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np

from protoleak.arrays import UInt8Array

Codec = Literal["libx264", "libx265"]

# libx265's build 216 writes beyond its buffers where a video is 48 pixels wide or less (its lookahead's cuTree). That
# ends the process or, worse, doesn't: narrower images are encoded with their border pixels repeated up to this side.
SMALLEST_SIDE = 64


def through_video(
    view: UInt8Array, codec: Codec, crf: int, shift: tuple[int, int] = (0, 0), frames: int = 3
) -> UInt8Array:
    """The last of a few frames of a video in which the image moves by `shift` pixels a frame: an inter frame.

    Args:
        view: uint8 [H, W, 3] RGB; with even sides, since a last odd row or column is left out.
        crf: constant rate factor, the higher the coarser.
    """
    import av

    kept = view[: view.shape[0] & ~1, : view.shape[1] & ~1]
    more = [(0, max(0, SMALLEST_SIDE - side)) for side in kept.shape[:2]]
    padded = np.pad(kept, [*more, (0, 0)], mode="edge")
    height, width = padded.shape[:2]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4" if codec == "libx264" else "matroska") as container:
        options = {"crf": str(crf), "preset": "veryfast" if codec == "libx264" else "ultrafast", "threads": "1"}
        if codec == "libx264":  # its macroblock tree reads memory that nobody wrote: each run gave another video
            options["x264-params"] = "mbtree=0"
        if codec == "libx265":
            options["x265-params"] = "log-level=error:pools=none:frame-threads=1"
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            left = frames - 1 - number
            moved = np.roll(padded, (shift[1] * left, shift[0] * left), axis=(0, 1)) if left else padded
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(moved), format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    buffer.seek(0)
    last = None
    with av.open(buffer) as container:
        for decoded in container.decode(video=0):
            last = decoded
    assert last is not None, "a video of several frames has one"
    shown = np.asarray(last.to_ndarray(format="rgb24"))
    return np.ascontiguousarray(shown[: kept.shape[0], : kept.shape[1]])
