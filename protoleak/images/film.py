"""An image on compressed film: what a frame of a video keeps of it. Needs PyAV."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np

from protoleak.arrays import UInt8Array

Codec = Literal["libx264", "libx265"]


def through_video(
    view: UInt8Array, codec: Codec, crf: int, shift: tuple[int, int] = (0, 0), frames: int = 3
) -> UInt8Array:
    """The last of a few frames of a film in which the image moves by `shift` pixels a frame: an inter frame.

    Args:
        view: uint8 [H, W, 3] RGB; with even sides, since a last odd row or column is left out.
        crf: constant rate factor, the higher the coarser.
    """
    import av

    height, width = view.shape[0] & ~1, view.shape[1] & ~1
    view = view[:height, :width]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4" if codec == "libx264" else "matroska") as container:
        options = {"crf": str(crf), "preset": "veryfast" if codec == "libx264" else "ultrafast", "threads": "1"}
        if codec == "libx265":
            options["x265-params"] = "log-level=error:pools=none:frame-threads=1"
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            left = frames - 1 - number
            moved = np.roll(view, (shift[1] * left, shift[0] * left), axis=(0, 1)) if left else view
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(moved), format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    buffer.seek(0)
    last = None
    with av.open(buffer) as container:
        for decoded in container.decode(video=0):
            last = decoded
    assert last is not None, "a film of several frames has one"
    return np.asarray(last.to_ndarray(format="rgb24"))
