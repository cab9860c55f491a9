"""Round trips through the file formats and video codecs that images of faces are shared in."""

from __future__ import annotations

import io
from typing import Literal

import cv2
import msgspec
import numpy as np
from PIL import Image, ImageFile

from protoleak.arrays import UInt8Array
from protoleak.images.video_codecs import through_video

WriterKind = Literal["jpeg", "cv_jpeg", "webp", "png", "libx264", "libx265"]


class Writer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One round trip through a file format. `quality` is JPEG's, WebP's, or the CRF of a video codec.

    Attributes:
        kind: one of WRITERS.
        subsampling: of the chroma, as Pillow numbers it: 0 for 4:4:4, 1 for 4:2:2, 2 for 4:2:0.
        shift: of the image from frame to frame of a video, in pixels.
    """

    kind: WriterKind
    quality: int = 0
    subsampling: int = 2
    progressive: bool = False
    shift: tuple[int, int] = (0, 0)


def write(view: UInt8Array, writer: Writer) -> UInt8Array:
    """Through a file format and back. Video codecs give even sides, by leaving the last row or column out."""
    if writer.kind == "png":
        return view
    if writer.kind == "libx264" or writer.kind == "libx265":
        return through_video(view, writer.kind, writer.quality, writer.shift)
    if writer.kind == "cv_jpeg":
        settings = [cv2.IMWRITE_JPEG_QUALITY, writer.quality, cv2.IMWRITE_JPEG_PROGRESSIVE, int(writer.progressive)]
        _, data = cv2.imencode(".jpg", cv2.cvtColor(view, cv2.COLOR_RGB2BGR), settings)
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert decoded is not None, "OpenCV has just written it"
        return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    buffer = io.BytesIO()
    if writer.kind == "jpeg":
        # Pillow holds a progressive file in a buffer that it reckons by the area: too small for what is nearly noise.
        ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, 2 * view.size)
        Image.fromarray(view).save(
            buffer, "JPEG", quality=writer.quality, subsampling=writer.subsampling, progressive=writer.progressive
        )
    else:
        Image.fromarray(view).save(buffer, "WEBP", quality=writer.quality, method=2)
    return np.asarray(Image.open(buffer).convert("RGB"))
