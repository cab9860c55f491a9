"""Whether two ways to follow faces give the same tracks; see benchmarks/video.py."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import av
import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from protoleak.arrays import UInt8Array
from protoleak.images.framing import Box
from protoleak.video.tracking.tracker import overlap

SAME_BOX = 0.5  # intersection over union from which two boxes are of the same face, as in MOTChallenge
RATE, SECONDS, CUT = 30, 8, 5  # of the made clip: frames per second, length, where another shot begins

Frames: TypeAlias = Sequence[Sequence[tuple[int, Box]]]  # (track, box) of every face, by frame


def identity_f1(reference: Frames, found: Frames) -> float:
    """IDF1 (Ristani et al. 2016): of all boxes, the share that the same track has on both sides, in [0, 1].

    Each track of one side stands for at most one of the other, such that most boxes agree; two boxes of a frame agree
    from SAME_BOX on. 1 where there is no box.
    """
    ours, theirs = (sorted({track for frame in frames for track, _ in frame}) for frames in (reference, found))
    boxes = sum(map(len, reference)) + sum(map(len, found))
    if not boxes:
        return 1.0
    agreeing = np.zeros((len(ours), len(theirs)))
    for one, other in zip(reference, found, strict=True):
        for track, box in one:
            for counterpart, second in other:
                if overlap(box, second) >= SAME_BOX:
                    agreeing[ours.index(track), theirs.index(counterpart)] += 1
    matched = agreeing[linear_sum_assignment(agreeing, maximize=True)].sum()
    return float(2 * matched / boxes)


def write_made_clip(path: Path, images: Sequence[Path], size: tuple[int, int]) -> None:
    """A clip of images of faces that walk through it at several speeds, come, go, and meet, with one cut.

    Args:
        images: image files, one face each.
        size: width and height of the frames, in pixels.
    """
    width, height = size
    side = height // 3
    read = [cv2.imread(str(image)) for image in images]
    faces = [
        cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        for image in read
        if image is not None
    ]
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(RATE * SECONDS):
            frame = av.VideoFrame.from_ndarray(_made(index / RATE, faces, (height, width)), format="bgr24")
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


def _made(time: float, faces: Sequence[UInt8Array], shape: tuple[int, int]) -> UInt8Array:
    """A frame, uint8 [H, W, 3], at this time in seconds."""
    height, width = shape
    light = 60 if time < CUT else 170
    image = np.full((height, width, 3), light, np.uint8)
    side = faces[0].shape[0]
    lanes = list(pairwise(range(0, height + 1, side)))
    for number, face in enumerate(faces):
        speed = width / (3 + 1.5 * number) * (1 if number % 2 == 0 else -1)
        place = int((number * width / 4 + speed * time) % (width + side)) - side
        top, _ = lanes[(number + (time >= CUT)) % len(lanes)]
        begin, end = max(place, 0), min(place + side, width)
        if begin < end:
            image[top : top + side, begin:end] = face[:, begin - place : end - place]
    return image
