"""How images come to lie on the GPU, uint8 [N·L, S, S, 3]: a caller's own as they are, or cut there out of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from protoleak.errors import EngineError, MediaError
from protoleak.runtime.cuda.arrays import DeviceArray, DeviceArrayError, GpuArray, expect, packed_strides
from protoleak.runtime.cuda.crops import CudaCrops
from protoleak.runtime.cuda.device import CudaWorker
from protoleak.runtime.executors.base import ExpectedShapes, FrameToCrop, ImageOnGpu


class _Framed(NamedTuple):
    """The owner of memory that `frame_images` filled."""

    memory: object


def take_images(worker: CudaWorker, name: str, images: GpuArray, shapes: ExpectedShapes) -> list[ImageOnGpu]:
    """See `Executor.take`. Waits for the images, since their pixels are downloaded for the verdict's SHA-256."""
    side = shapes.manifest.preprocessing.image_size
    try:
        taken = worker.take(name, images)
        if len(taken.shape) == 3:
            taken = replace(taken, shape=(1, *taken.shape), strides=(taken.shape[0] * taken.strides[0], *taken.strides))
        expect(name, taken, (None, side, side, 3), (np.uint8,), device=worker.ordinal)
    except DeviceArrayError as error:
        raise MediaError(
            f"{error}. Images on the GPU must be uint8 [{side}, {side}, 3] in RGB order: make them so, or give a NumPy "
            "array of any size"
        ) from error
    try:
        faces = shapes.faces_in(taken.shape[0])
    except EngineError as error:
        raise MediaError(f"{name}: {error}") from error
    of_faces = [rows(taken, shapes.looks * index, shapes.looks * (index + 1)) for index in range(faces)]
    return [ImageOnGpu(one, worker.read(one)) for one in of_faces]


def frame_images(
    worker: CudaWorker, crops: CudaCrops, frames: Sequence[FrameToCrop], shapes: ExpectedShapes
) -> list[ImageOnGpu]:
    """See `Executor.frame`. Waits for the crops, since their pixels are downloaded for the verdicts' SHA-256.

    The memory that frames are uploaded through is kept for each size that occurs: a source has one.
    """
    side = shapes.manifest.preprocessing.image_size
    images = sum(len(frame.rectangles) for frame in frames)
    faces = shapes.faces_in(images)
    framed = worker.allocate((images, side, side, 3), np.uint8)
    framed = replace(framed, owner=_Framed(framed.owner))
    first = 0
    for frame in frames:
        pixels = worker.buffer("frame", frame.pixels.shape, np.uint8)
        worker.write(pixels, frame.pixels)
        given, taps = crops.upload(frame.rectangles)
        last = first + len(frame.rectangles)
        crops.enqueue(pixels, given, taps, rows(framed, first, last))
        first = last
    on_host = worker.read(framed)
    return [
        ImageOnGpu(rows(framed, first, first + shapes.looks), on_host[first : first + shapes.looks])
        for first in range(0, faces * shapes.looks, shapes.looks)
    ]


def was_framed(images: DeviceArray) -> bool:
    """Whether `frame_images` made them, in memory of their own that is at another address each time."""
    return isinstance(images.owner, _Framed)


def rows(array: DeviceArray, first: int, last: int) -> DeviceArray:
    """Some rows of a contiguous array, where they are."""
    shape = (last - first, *array.shape[1:])
    strides = packed_strides(shape, array.dtype)
    return replace(array, pointer=array.pointer + first * strides[0], shape=shape, strides=strides)
