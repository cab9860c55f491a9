"""Images in, verdicts out: decoding, the executor, the decision."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

import msgspec

from protoleak.arrays import Array
from protoleak.bundle.bundle import Bundle
from protoleak.choices import Upright
from protoleak.errors import BundleError, EngineError, MediaError, ProtoleakError
from protoleak.images.decode import Decode, decode
from protoleak.images.isolated import IsolatedDecoder
from protoleak.images.resize import RgbImage
from protoleak.images.sources import ImageSource
from protoleak.runtime.cuda.arrays import GpuArray
from protoleak.runtime.drift import EVIDENCE, DriftMonitor
from protoleak.runtime.engines import EngineDescription, EngineOptions
from protoleak.runtime.executors import FrameToCrop, ImageOnGpu
from protoleak.runtime.judge import Judge, JudgedInput
from protoleak.runtime.opening import Opening
from protoleak.runtime.prepared import FramedFace, Prepared, framed_whole, joined_pixels, lie_together
from protoleak.runtime.preparing import (
    AnyImage,
    decoding_threads,
    one_by_one,
    prepare_face,
    prepare_image,
    prepare_on_gpu,
    prepared_ahead,
)
from protoleak.runtime.verdict import Verdict

DEFAULT_BATCH_SIZE = 8
TakeOutputs: TypeAlias = Callable[[Verdict, Mapping[str, Array]], None]
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
        self._judge = Judge(self.bundle, chosen, alpha=alpha, upright=upright)
        self.alpha, self.bundle_record = self._judge.alpha, self._judge.bundle_record
        preprocessing = self.bundle.manifest.preprocessing
        self.upright: Upright = upright or preprocessing.upright
        self.framing = replace(preprocessing.framing, upright=self.upright == "auto")
        self.isolate = isolate
        self._decoding_threads = decoding_threads(engines_on_gpu=not opening.on_processor)
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
        return self._judge.rule.track_accusation_level

    def drift_monitor(self, source: str, told_at: float = EVIDENCE) -> DriftMonitor:
        """What watches whether the images of one source are like those of the calibration, at this pipeline's α.

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
        for outcome in self.each(one_by_one(images, self._executor.take)):
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
        for item in prepared_ahead(images, self.prepare, self._prepare_on_gpu, batch_size, self._decoding_threads):
            if isinstance(item, Prepared):
                if batch and not lie_together(batch[-1], item):
                    yield from self._outcomes(batch)
                    batch = []
                batch.append(item)
                if len(batch) == batch_size:
                    yield from self._outcomes(batch)
                    batch = []
            else:  # an error keeps its place: what was collected before it comes first
                yield from self._outcomes(batch)
                batch = []
                yield item
        yield from self._outcomes(batch)

    def frame(self, image: RgbImage) -> FramedFace:
        """The face that an image is judged by: here the middle of the image, whatever it shows.

        Args:
            image: uint8 [H, W, 3] in RGB order, or a Pillow image of mode RGB; upright where a look depends on the
                face.

        Raises:
            MediaError: there is no face to judge, in a class that looks for one.
        """
        return framed_whole(self.framing, image)

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
        if isinstance(image, FramedFace):
            return prepare_face(image, self.framing, name)
        return prepare_image(image, name, upright=self.framing.upright, decode=self.decode, frame=self.frame)

    def judge(self, images: Sequence[Prepared]) -> list[Verdict | EngineError]:
        """The verdicts of prepared images, in order; all of them go through the engines together.

        Where the engines give something that cannot be a result, each image is judged by itself, and those that it was
        have an EngineError in their place. Verdicts don't depend on what else is in the batch. May be called in several
        threads, which take turns in the engines.

        Args:
            images: of `prepare`, of this bundle.
        """
        return list(self._outcomes(list(images)))

    def _prepare_on_gpu(self, image: GpuArray | ImageOnGpu, name: str) -> Prepared:
        return prepare_on_gpu(image, self._executor.take, self.framing, name)

    def _outcomes(self, batch: list[Prepared]) -> Iterator[Verdict | EngineError]:
        if not batch:
            return
        try:
            yield from self._verdicts(batch)
        except EngineError as error:
            if len(batch) == 1:
                yield EngineError(f"{batch[0].name}: {error}").about(batch[0].source, batch[0].record.sha256)
                return
            for one in batch:  # find the image that it was, and judge the others
                yield from self._outcomes([one])

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
        return self._judge.verdict(judged, outputs, self.engine, one.milliseconds | shared)


def _reopened(kind: type[ImagePipeline], bundle: str, sha256: str, settings: dict[str, Any]) -> ImagePipeline:
    pipeline = kind(bundle, **settings)
    if pipeline.bundle.sha256 != sha256:
        pipeline.close()
        raise BundleError(f"{bundle}: another bundle than when this was pickled: load it anew")
    return pipeline
