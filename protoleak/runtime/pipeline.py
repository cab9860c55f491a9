"""Images in, verdicts out: decoding, the executor, the decision."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, TypeAlias, TypeVar, cast

import msgspec
import numpy as np
from PIL import Image

from protoleak.arrays import Array
from protoleak.bundle.bundle import Bundle
from protoleak.choices import Upright
from protoleak.environment.processors import processors, threads_of_quota
from protoleak.errors import BundleError, EngineError, MediaError, ProtoleakError
from protoleak.images.content import lacking
from protoleak.images.decode import Decode, decode
from protoleak.images.isolated import IsolatedDecoder
from protoleak.images.open import open_image
from protoleak.images.resize import RgbImage, size_of
from protoleak.images.sources import WHAT_TO_GIVE, ArrayLike, ImageSource, Readable
from protoleak.runtime.cuda.arrays import GpuArray, on_gpu
from protoleak.runtime.drift import EVIDENCE, DriftMonitor
from protoleak.runtime.engines import EngineDescription, EngineOptions
from protoleak.runtime.executors import FrameToCrop, ImageOnGpu
from protoleak.runtime.judge import Judge, JudgedInput
from protoleak.runtime.opening import Opening
from protoleak.runtime.prepared import FramedFace, Prepared, joined_pixels, lie_together, opened_record, pixels_record
from protoleak.runtime.verdict import Verdict

DECODING_THREADS = 2  # decoding overlaps with the engines; more would only compete with them for the cores
# A GPU leaves the cores alone and waits for them: ms per face beside an H100, with 2, 4, 8 and 16 threads on 16 cores,
# 3.4, 2.8, 3.1 and 3.3. More than these wait for each other in Python.
DECODING_THREADS_FOR_GPU = 4
DEFAULT_BATCH_SIZE = 8
TakeOutputs: TypeAlias = Callable[[Verdict, Mapping[str, Array]], None]
AnyImage: TypeAlias = "ImageSource | FramedFace | GpuArray | ImageOnGpu"
Pipeline = TypeVar("Pipeline", bound="ImagePipeline")


class ImagePipeline:
    """Turns images into verdicts with one bundle, variant and engine. The base of `protoleak.Screener`.

    Attributes:
        bundle: the checked bundle.
        variant: the name of the variant in use.
        compute: the arithmetic that it is computed in.
        calibration: the conformal lists that judge.
        report: what the bundle was measured to do in this variant and arithmetic.
        alpha: significance level.
        framing: how the bundle looks at a face.
        bundle_record: the bundle, as verdicts name it.
        upright: whether images are turned as their EXIF orientation says.
        isolate: whether images are decoded in processes of their own.
        decode: who decodes what is encoded.
    """

    def __init__(
        self,
        bundle: Opening | Bundle | str | os.PathLike[str] | None = None,
        *,
        trusted_key: str | os.PathLike[str] | None = None,
        alpha: float | None = None,
        variant: str | None = None,
        engine: str = "auto",
        threads: int | None = None,
        engine_options: EngineOptions | None = None,
        isolate: bool = False,
        upright: Upright | None = None,
        meanwhile: Callable[[Any], None] | None = None,
    ) -> None:
        """See `protoleak.load` for the arguments and errors.

        Args:
            bundle: also one that is being opened: then trusted_key, variant, engine, threads and engine_options are
                those that it was opened with.
            meanwhile: called with the pipeline, which cannot judge yet, while engines of the processor open their
                graphs: for what needs its bundle and framing alone.
        """
        opening = (
            bundle
            if isinstance(bundle, Opening)
            else Opening(
                bundle,
                trusted_key=trusted_key,
                variant=variant,
                engine=engine,
                threads=threads,
                engine_options=engine_options,
            )
        )
        self.bundle, chosen, self._opening = opening.bundle, opening.variant, opening
        self._take_outputs: TakeOutputs | None = None
        self.variant, self.compute, self.calibration = chosen.name, opening.compute, chosen.calibration
        self.report = chosen.report
        self._foreign_thresholds = None if opening.calibrated else f"of {chosen.compute}, not of {self.compute}"
        if self._foreign_thresholds is not None:
            opening.options.notify(
                f"the bundle has no thresholds for {self.compute}, so those of {chosen.compute} judge"
            )
        self._judgement = Judge(self.bundle, chosen, alpha=alpha, upright=upright)
        self.alpha, self.bundle_record = self._judgement.alpha, self._judgement.bundle_record
        preprocessing = self.bundle.manifest.preprocessing
        self.upright: Upright = upright or preprocessing.upright
        self.framing = replace(preprocessing.framing, upright=self.upright == "auto")
        self.isolate = isolate
        self._decoding_threads = DECODING_THREADS if opening.on_processor else decoding_threads_for_gpu()
        self.decode: Decode = IsolatedDecoder(self._decoding_threads) if isolate else decode
        self._executor = opening.executor(partial(self._while_opening, meanwhile))

    def _while_opening(self: Pipeline, meanwhile: Callable[[Pipeline], None] | None) -> None:
        self._import_meanwhile()
        if meanwhile is not None:
            meanwhile(self)

    def _import_meanwhile(self) -> None:
        """Imports what preparing images needs, while the engines compile their graphs."""
        import cv2  # noqa: F401

    def __enter__(self: Pipeline) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives the engines' memory, on a GPU too, and their threads back. May be called more than once.

        What is asked of the object afterwards is an EngineError.
        """
        self._executor.close()
        if isinstance(self.decode, IsolatedDecoder):
            self.decode.close()

    def __reduce__(self) -> tuple[Callable[..., ImagePipeline], tuple[object, ...]]:
        """Pickled as its settings: unpickling opens the bundle at the same place, and refuses it if it has changed."""
        settings = {
            "trusted_key": self._opening.trusted_key,
            "alpha": self.alpha,
            "variant": self.variant,
            "engine": self._opening.engine_asked,
            "threads": self._opening.threads,
            "engine_options": replace(self._opening.options, compute=self.compute),
            "isolate": self.isolate,
            "upright": self.upright,
        }
        return _reopened, (type(self), str(self.bundle.path), self.bundle.sha256, settings)

    def keep_outputs(self, take: TakeOutputs) -> None:
        """Has what the stages gave be handed to `take` with every verdict from now on, in the order of the verdicts.

        Args:
            take: gets the verdict and, of its face alone, the outputs of the attributor by name and "z0", the latents
                of its looks, float32 [L, C, h, w].
        """
        self._take_outputs = take

    @property
    def track_accusation_level(self) -> float | None:
        """What the merged `real_p_value` of a track must not exceed for a generator to be named."""
        return self._judgement.rule.track_accusation_level

    def drift_monitor(self, source: str, told_at: float = EVIDENCE) -> DriftMonitor:
        """What watches whether the pictures of one source are like those of the calibration, at this pipeline's α.

        Args:
            source: its name, for the event.
            told_at: evidence, to 1, that suffices for the event; it comes by chance with probability 1/told_at at most.
        """
        return DriftMonitor(source, self.bundle.manifest.generators, self.calibration, self.alpha, told_at)

    @property
    def engine(self) -> EngineDescription:
        """What executes the graphs, and how."""
        found = self._executor.describe()
        if self._foreign_thresholds is None:
            return found
        return msgspec.structs.replace(found, settings=found.settings | {"thresholds": self._foreign_thresholds})

    def __call__(self, images: AnyImage | Sequence[AnyImage]) -> list[Verdict]:
        """The verdicts of one image or of many, in order.

        Args:
            images: one of, or a sequence of: a path, a `data:` URI, an encoded image as bytes, a buffer or a file
                opened in binary mode, a Pillow image, uint8 [H, W, 3] in RGB order in an array or a CPU tensor. One
                uint8 [N, H, W, 3] is N images. With TensorRT and onnxruntime-cuda also an array on the GPU (PyTorch,
                CuPy, pycuda): uint8 [S, S, 3] or [N, S, S, 3], S being the bundle's image size. It is used where it
                lies; its pixels are downloaded once, for the SHA-256 in the verdict.

        Raises:
            MediaError: an image cannot be read, or is on a GPU and the engine isn't; no verdicts are returned then. Use
                `each` to go on with the others.
            EngineError: the network's outputs are not finite.
        """
        verdicts = []
        for outcome in self.each(self._as_list(images)):
            if isinstance(outcome, ProtoleakError):
                raise outcome
            verdicts.append(outcome)
        return verdicts

    def each(
        self, images: Iterable[AnyImage | MediaError], batch_size: int = DEFAULT_BATCH_SIZE
    ) -> Iterator[Verdict | MediaError | EngineError]:
        """One outcome per image, in order: its verdict, or the error that names it. The images are taken as needed.

        Args:
            images: as in `__call__`; an error in its place is handed on, so that sources which could not be listed
                keep their place.
            batch_size: images that go through the engines together; verdicts don't depend on it.
        """
        if batch_size < 1:
            raise ProtoleakError(f"batch size {batch_size}: give 1 or more")
        batch: list[Prepared] = []
        for item in self._prepared(images, batch_size):
            if isinstance(item, Prepared):
                if batch and not lie_together(batch[-1], item):
                    yield from self._judge(batch)
                    batch = []
                batch.append(item)
                if len(batch) == batch_size:
                    yield from self._judge(batch)
                    batch = []
            else:  # an error keeps its place: what was collected before it comes first
                yield from self._judge(batch)
                batch = []
                yield item
        yield from self._judge(batch)

    def _as_list(self, images: AnyImage | Sequence[AnyImage]) -> list[AnyImage | MediaError]:
        if isinstance(images, np.ndarray):
            return list(images) if images.ndim == 4 else [images]
        if isinstance(images, ArrayLike) and not isinstance(images, Image.Image) and not on_gpu(images):
            return list(cast("Iterable[AnyImage]", images)) if getattr(images, "ndim", 3) == 4 else [images]
        if on_gpu(images):
            try:
                return list(self._executor.take("images", images))  # type: ignore[arg-type]  # on_gpu says that it is one
            except MediaError as error:
                return [error]
        one = (str, bytes, bytearray, memoryview, os.PathLike, Image.Image, FramedFace, ImageOnGpu, Readable)
        if isinstance(images, one):
            return [images]
        if not isinstance(images, Iterable):
            return [MediaError(f"{type(images).__name__} is not an image: {WHAT_TO_GIVE}")]
        return list(images)

    def _prepared(self, images: Iterable[AnyImage | MediaError], batch_size: int) -> Iterator[Prepared | MediaError]:
        """Decodes ahead of the engines, by at most one batch."""
        pool = ThreadPoolExecutor(self._decoding_threads, thread_name_prefix="protoleak-decode")
        waiting: deque[Future[Prepared | MediaError]] = deque()
        try:
            for index, image in enumerate(images):
                if isinstance(image, ImageOnGpu) or on_gpu(image):
                    waiting.append(_done(self._prepare_on_gpu(image, index)))  # type: ignore[arg-type]  # see on_gpu
                else:
                    waiting.append(pool.submit(self._prepare, image, index))  # type: ignore[arg-type]
                if len(waiting) > batch_size:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def frame(self, image: RgbImage) -> FramedFace:
        """The face that an image is judged by: here the middle of the image, whatever it shows.

        Args:
            image: uint8 [H, W, 3] in RGB order, or a Pillow image of mode RGB; upright where a look depends on the
                face.

        Raises:
            MediaError: there is no face to judge, in a class that looks for one.
        """
        height, width = size_of(image)
        pixels = self.framing.frame(image, None)
        return FramedFace(pixels, lacking(pixels, self.framing.judged_side(width, height, None)))

    def frame_on_gpu(self, frames: Sequence[FrameToCrop]) -> list[ImageOnGpu] | None:
        """Faces of frames, framed where the engine is: see `Executor.frame`. None where that is not a GPU."""
        return self._executor.frame(frames)

    def prepare(self, image: ImageSource | FramedFace, name: str = "image") -> Prepared:
        """Decodes and frames one image, for `judge`: what a service does as images arrive, while the engines work.

        May be called in several threads at once. `each` and `__call__` do both steps for those who have their images
        at hand.

        Args:
            image: as in `__call__`, but not on a GPU.
            name: what messages call an image that is not a file.

        Raises:
            MediaError: it cannot be read, or there is no face to judge in it.
        """
        started = time.perf_counter()
        if isinstance(image, FramedFace):
            if problem := self._unlike_framing(image):
                raise MediaError(f"{name}: {problem}")
            record = pixels_record(image.pixels)
            spent = {"decode": 1000 * (time.perf_counter() - started), "preprocess": 0.0}
            pixels = image.pixels if image.array is None else image.array
            return Prepared(name, None, record, (), pixels, image.lacking, spent)
        opened = open_image(image, name=name, upright=self.framing.upright, decode=self.decode)
        decoded = time.perf_counter()
        try:
            framed = self.frame(opened.pixels)
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

    def judge(self, images: Sequence[Prepared]) -> list[Verdict | EngineError]:
        """The verdicts of prepared images, in order; all of them go through the engines together.

        Where the engines give something that cannot be a result, each image is judged by itself, and those that it was
        have an EngineError in their place. Verdicts don't depend on what else is in the batch. May be called in several
        threads, which take turns in the engines.

        Args:
            images: of `prepare`, of this bundle.
        """
        return list(self._judge(list(images)))

    def _prepare(self, image: ImageSource | FramedFace | MediaError, index: int) -> Prepared | MediaError:
        """Or the error in its place, as `each` hands it on."""
        if isinstance(image, MediaError):
            return image
        try:
            return self.prepare(image, f"image {index}")
        except MediaError as error:
            return error

    def _unlike_framing(self, face: FramedFace) -> str | None:
        size, looks = self.framing.image_size, self.framing.looks
        if face.pixels.dtype == np.uint8 and face.pixels.shape == (len(looks), size, size, 3):
            return None
        return (
            f"framed as {face.pixels.dtype} {list(face.pixels.shape)}, and the bundle's looks {', '.join(looks)} take "
            f"uint8 {[len(looks), size, size, 3]}"
        )

    def _prepare_on_gpu(self, image: GpuArray | ImageOnGpu, index: int) -> Prepared | MediaError:
        """In the thread that runs the executor, since a GPU's context belongs to a thread."""
        started, name = time.perf_counter(), f"image {index}"
        if not isinstance(image, ImageOnGpu):
            try:
                taken = self._executor.take(name, image)
            except MediaError as error:
                return error
            if len(taken) != 1:
                return MediaError(f"{name}: {len(taken)} images in one array: give them one by one here")
            image = taken[0]
        spent = {"decode": 1000 * (time.perf_counter() - started), "preprocess": 0.0}
        return Prepared(
            name,
            None,
            pixels_record(image.pixels),
            (),
            image.array,
            lacking(image.pixels, self.framing.image_size),
            spent,
        )

    def _judge(self, batch: list[Prepared]) -> Iterator[Verdict | EngineError]:
        if not batch:
            return
        try:
            yield from self._verdicts(batch)
        except EngineError as error:
            if len(batch) == 1:
                yield EngineError(f"{batch[0].name}: {error}").about(batch[0].source, batch[0].record.sha256)
                return
            for one in batch:  # find the image that it was, and judge the others
                yield from self._judge([one])

    def _verdicts(self, batch: list[Prepared]) -> list[Verdict]:
        take = self._take_outputs
        result = self._executor.run(joined_pixels(batch), stages=take is not None)
        shared = {stage: spent / len(batch) for stage, spent in result.milliseconds.items()}
        verdicts = []
        for index, one in enumerate(batch):
            outputs = {name: values[index] for name, values in result.outputs.items()}
            verdicts.append(self._verdict(one, outputs, shared))
            if take is not None and result.z0 is not None:
                looks = len(self.framing.looks)
                take(verdicts[-1], outputs | {"z0": result.z0[index * looks : (index + 1) * looks]})
        return verdicts

    def _verdict(self, one: Prepared, outputs: dict[str, Array], shared: dict[str, float]) -> Verdict:
        judged = JudgedInput(one.source, one.record, one.notes, one.lacking, one.claims)
        return self._judgement.verdict(judged, outputs, self.engine, one.milliseconds | shared)


def decoding_threads_for_gpu() -> int:
    """Threads that decode and frame while a GPU works: as many as there are processors, within bounds."""
    return min(DECODING_THREADS_FOR_GPU, max(DECODING_THREADS, threads_of_quota() or processors()))


def _reopened(kind: type[ImagePipeline], bundle: str, sha256: str, settings: dict[str, Any]) -> ImagePipeline:
    pipeline = kind(bundle, **settings)
    if pipeline.bundle.sha256 != sha256:
        pipeline.close()
        raise BundleError(f"{bundle}: another bundle than when this was pickled: load it anew")
    return pipeline


def _done(outcome: Prepared | MediaError) -> Future[Prepared | MediaError]:
    future: Future[Prepared | MediaError] = Future()
    future.set_result(outcome)
    return future
