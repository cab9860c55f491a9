"""From what a caller gives to images ready for the engines: listed one by one, decoded, framed, ahead of their turn."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias, cast

import numpy as np
from PIL import Image

from protoleak.environment.processors import processors, threads_of_quota
from protoleak.errors import MediaError
from protoleak.images.content import lacking
from protoleak.images.decode import Decode
from protoleak.images.framing import Framing
from protoleak.images.open import open_image
from protoleak.images.resize import RgbImage
from protoleak.images.sources import WHAT_TO_GIVE, ArrayLike, ImageSource, Readable
from protoleak.runtime.cuda.arrays import GpuArray, on_gpu
from protoleak.runtime.executors import ImageOnGpu
from protoleak.runtime.prepared import FramedFace, Prepared, opened_record, pixels_record

DECODING_THREADS = 2  # decoding overlaps with the engines; more would only compete with them for the cores
# A GPU leaves the cores alone and waits for them: ms per face beside an H100, with 2, 4, 8 and 16 threads on 16 cores,
# 3.4, 2.8, 3.1 and 3.3. More than these wait for each other in Python.
DECODING_THREADS_FOR_GPU = 4
AnyImage: TypeAlias = "ImageSource | FramedFace | GpuArray | ImageOnGpu"


def decoding_threads(*, engines_on_gpu: bool) -> int:
    """Threads that decode and frame while engines work: where these run on a GPU, as many as there are processors,
    within bounds."""
    if not engines_on_gpu:
        return DECODING_THREADS
    return min(DECODING_THREADS_FOR_GPU, max(DECODING_THREADS, threads_of_quota() or processors()))


def one_by_one(
    images: AnyImage | Sequence[AnyImage], take: Callable[[str, GpuArray], list[ImageOnGpu]]
) -> list[AnyImage | MediaError]:
    """The single images of what a caller gave: one of them, a sequence, or an array of N. What is none is a MediaError
    in its place.

    Args:
        take: see `Executor.take`, for an array on the GPU.
    """
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, ArrayLike) and not isinstance(images, Image.Image) and not on_gpu(images):
        return list(cast("Iterable[AnyImage]", images)) if getattr(images, "ndim", 3) == 4 else [images]
    if on_gpu(images):
        try:
            return list(take("images", images))  # type: ignore[arg-type]  # on_gpu says that it is one
        except MediaError as error:
            return [error]
    one = (str, bytes, bytearray, memoryview, os.PathLike, Image.Image, FramedFace, ImageOnGpu, Readable)
    if isinstance(images, one):
        return [images]
    if not isinstance(images, Iterable):
        return [MediaError(f"{type(images).__name__} is not an image: {WHAT_TO_GIVE}")]
    return list(images)


def prepare_image(
    image: ImageSource, name: str, *, upright: bool, decode: Decode, frame: Callable[[RgbImage], FramedFace]
) -> Prepared:
    """Decodes and frames one image.

    Args:
        name: what messages call an image that is not a file.
        frame: the face that it is judged by, from uint8 [H, W, 3].

    Raises:
        MediaError: it cannot be read, or `frame` finds no face to judge in it.
    """
    started = time.perf_counter()
    opened = open_image(image, name=name, upright=upright, decode=decode)
    decoded = time.perf_counter()
    try:
        framed = frame(opened.pixels)
    except MediaError as error:
        message = "; ".join([f"{opened.name}: {error}", *opened.notes])
        raise type(error)(message).about(opened.source, opened.sha256) from error
    finished = time.perf_counter()
    spent = {"decode": 1000 * (decoded - started), "preprocess": 1000 * (finished - decoded)}
    return Prepared(
        opened.name,
        opened.source,
        opened_record(opened),
        opened.notes,
        framed.pixels,
        framed.lacking,
        spent,
        opened.claims,
    )


def prepare_face(face: FramedFace, framing: Framing, name: str) -> Prepared:
    """A face that came framed.

    Raises:
        MediaError: it is framed in another way than the bundle's.
    """
    started = time.perf_counter()
    size, looks = framing.image_size, framing.looks
    if face.pixels.dtype != np.uint8 or face.pixels.shape != (len(looks), size, size, 3):
        raise MediaError(
            f"{name}: framed as {face.pixels.dtype} {list(face.pixels.shape)}, and the bundle's looks "
            f"{', '.join(looks)} take uint8 {[len(looks), size, size, 3]}"
        )
    record = pixels_record(face.pixels)
    pixels = face.pixels if face.array is None else face.array
    return Prepared(name, None, record, (), pixels, face.lacking, _without_framing(started))


def prepare_on_gpu(
    image: GpuArray | ImageOnGpu, take: Callable[[str, GpuArray], list[ImageOnGpu]], framing: Framing, name: str
) -> Prepared:
    """One image that a caller has on the GPU, as it lies there. For the thread that runs the executor, since a GPU's
    context belongs to a thread.

    Args:
        take: see `Executor.take`.

    Raises:
        MediaError: it doesn't fit, is several images, or the executor takes its images from the processor's memory.
    """
    started = time.perf_counter()
    if not isinstance(image, ImageOnGpu):
        taken = take(name, image)
        if len(taken) != 1:
            raise MediaError(f"{name}: {len(taken)} images in one array: give them one by one here")
        image = taken[0]
    spent = _without_framing(started)
    record = pixels_record(image.pixels)
    return Prepared(name, None, record, (), image.array, lacking(image.pixels, framing.image_size), spent)


def prepared_ahead(
    images: Iterable[AnyImage | MediaError],
    prepare: Callable[[ImageSource | FramedFace, str], Prepared],
    prepare_on_gpu: Callable[[GpuArray | ImageOnGpu, str], Prepared],
    ahead: int,
    threads: int,
) -> Iterator[Prepared | MediaError]:
    """Prepares images in threads while those before them are judged; each is ready in its turn, or the error in
    its place. The images are taken as needed. One alone is prepared in this thread.

    Args:
        prepare: an image by the name that messages call it.
        prepare_on_gpu: the same of one on the GPU, in this thread.
        ahead: images that are prepared, or being prepared, before the one whose turn it is.
        threads: that prepare them.
    """

    def outcome(image: AnyImage | MediaError, name: str) -> Prepared | MediaError:
        if isinstance(image, MediaError):
            return image
        try:
            if _is_on_gpu(image):
                return prepare_on_gpu(image, name)  # type: ignore[arg-type]  # as it was just asked
            return prepare(image, name)  # type: ignore[arg-type]
        except MediaError as error:
            return error

    if isinstance(images, Sequence) and len(images) == 1:
        # Nothing goes on meanwhile: another thread would take 0.1 ms and more to begin and end, on another core.
        yield outcome(images[0], "image 0")
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="protoleak-decode")
    waiting: deque[Future[Prepared | MediaError]] = deque()
    try:
        for index, image in enumerate(images):
            name = f"image {index}"
            if _is_on_gpu(image):
                waiting.append(Future())
                waiting[-1].set_result(outcome(image, name))
            else:
                waiting.append(pool.submit(outcome, image, name))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _is_on_gpu(image: object) -> bool:
    return isinstance(image, ImageOnGpu) or on_gpu(image)


def _without_framing(started: float) -> dict[str, float]:
    return {"decode": 1000 * (time.perf_counter() - started), "preprocess": 0.0}
