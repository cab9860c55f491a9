"""From a box in an image or frame to what is attributed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from protoleak.arrays import UInt8Array
from protoleak.images.content import lacking
from protoleak.images.framing import Box, Framing, cut
from protoleak.runtime.executors import FrameToCrop
from protoleak.runtime.pipeline import ImagePipeline
from protoleak.runtime.prepared import FramedFace, framed_whole

if TYPE_CHECKING:  # what it imports is for GPUs
    from protoleak.runtime.cuda.crops import Rectangle


def face_crop(image: UInt8Array, box: Box, margin: float) -> UInt8Array:
    """The square around a face at the frame's own resolution; `preprocess` resizes it like any other image.

    Where the square reaches over the border, the frame goes on as its own mirror image, as often as needed: black
    bars would be edges and frequencies that no generator made.

    Args:
        image: uint8 [H, W, 3], at least one pixel.
        box: of the face; it may lie partly or wholly outside, and be larger than the frame.
        margin: what is shown around the face, as a share of the box's longer side on every side.

    Returns:
        uint8 [side, side, 3] with side = round((1 + 2·margin) · longer side), at least 1; a view of the image where the
        square lies inside.
    """
    return cut(image, *crop_square(box, margin))


def frame_face(framing: Framing, image: UInt8Array, face: Box, margin: float) -> FramedFace:
    """A face in all looks of a bundle, as the pipeline takes it.

    Args:
        image: uint8 [H, W, 3] RGB, upright.
        face: its box, without margin.
        margin: of the crop that stands for the whole image where the bundle knows the look `image` alone, as
            `face_crop` takes it; a bundle that looks at faces has a margin of its own.
    """
    return frame_each(framing, image, [face], margin)[0]


def frame_each(framing: Framing, image: UInt8Array, faces: Sequence[Box], margin: float) -> list[FramedFace]:
    """Several faces of one image, as `frame_face` gives them; what all of them share is made once."""
    if not framing.needs_face:
        return [framed_whole(framing, cut(image, *crop_square(face, margin))) for face in faces]
    height, width = image.shape[:2]
    return [
        FramedFace(looks, lacking(looks, framing.judged_side(width, height, face)))
        for looks, face in zip(framing.frame_each(image, faces), faces, strict=True)
    ]


def frame_faces(pipeline: ImagePipeline, faces: Sequence[tuple[UInt8Array, Box]], margin: float) -> list[FramedFace]:
    """Faces of frames in all looks of a bundle: on the GPU where its engine is there, else as `frame_face` does it. The
    pixels are the same to the bit.

    Args:
        faces: each one's frame, uint8 [H, W, 3] RGB, upright, and its box without margin. A frame that several faces
            are in goes to the GPU once where they stand behind one another.
        margin: as in `frame_face`.
    """
    framing = pipeline.framing
    frames: list[tuple[UInt8Array, list[Box]]] = []
    for image, box in faces:
        if not frames or frames[-1][0] is not image:
            frames.append((image, []))
        frames[-1][1].append(box)
    to_crop = [
        FrameToCrop(image, [part for box in boxes for part in look_rectangles(framing, image, box, margin)])
        for image, boxes in frames
    ]
    on_gpu = pipeline.frame_on_gpu(to_crop) if frames else []
    if on_gpu is None:
        return [framed for image, boxes in frames for framed in frame_each(framing, image, boxes, margin)]
    return [
        FramedFace(one.pixels, lacking(one.pixels, _judged_side(framing, image, box, margin)), one.array)
        for one, (image, box) in zip(on_gpu, faces, strict=True)
    ]


def look_rectangles(framing: Framing, image: UInt8Array, face: Box, margin: float) -> list[Rectangle]:
    """What each look of a bundle shows of a frame, in its pixels; arguments as in `frame_face`."""
    height, width = image.shape[:2]
    if not framing.needs_face:
        left, top, side = crop_square(face, margin)
        return [(left, top, side, side)] * len(framing.looks)
    found: list[Rectangle] = []
    for look in framing.looks:
        if look == "image":
            found.append((0, 0, width, height))
        else:
            left, top, side = framing.square(look, width, height, face)
            found.append((left, top, side, side))
    return found


def _judged_side(framing: Framing, image: UInt8Array, face: Box, margin: float) -> int:
    if framing.needs_face:
        return framing.judged_side(image.shape[1], image.shape[0], face)
    side = crop_square(face, margin)[2]
    return framing.judged_side(side, side, None)


def crop_square(box: Box, margin: float) -> tuple[int, int, int]:
    """Left, top and side in whole pixels of the square that `face_crop` cuts out."""
    side = max(1, round(max(box.width, box.height) * (1 + 2 * margin)))
    return round(box.left + (box.width - side) / 2), round(box.top + (box.height - side) / 2), side


def sharpness(crop: UInt8Array, size: int) -> float:
    """Variance of the Laplacian of the grey crop, resized to the network's size so that near and far faces compare.

    Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy". Higher is sharper; noise counts too.

    Args:
        crop: uint8 [side, side, 3] in RGB order.
        size: side of the network's input, in pixels.
    """
    import cv2  # where it is used: engines are opened while it is imported

    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    smaller = size < grey.shape[0]
    resized = cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return float(cv2.Laplacian(resized, cv2.CV_16S).var(dtype=np.float64))
