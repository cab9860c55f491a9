"""The whole line of inference: images in, verdicts out."""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image

from protoleak.arrays import Array
from protoleak.bundle.bundle import Bundle, Variant
from protoleak.bundle.variants import choose_variant
from protoleak.errors import EngineError, MediaError, ProtoleakError
from protoleak.images.decode import ImageSource, open_image
from protoleak.images.preprocess import preprocess
from protoleak.runtime.cuda.arrays import GpuArray, on_gpu
from protoleak.runtime.decision import DecisionRule, explain
from protoleak.runtime.engines import EngineDescription, EngineOptions, Graph, choose
from protoleak.runtime.executors.base import ExpectedShapes, ImageOnGpu, open_line
from protoleak.runtime.noising import Noising
from protoleak.runtime.prepared import PreparedImage, adjoin, done, input_record, together
from protoleak.runtime.verdict import BundleRecord, InputRecord, Verdict

if TYPE_CHECKING:  # images need neither OpenCV nor PyAV
    from protoleak.faces.base import FaceDetector
    from protoleak.video.events import Event
    from protoleak.video.frames import FrameSource
    from protoleak.video.settings import FaceFinder
    from protoleak.video.sink import Sink

LATENT_ENCODER_OUTPUTS = ("z0",)
ATTRIBUTOR_OUTPUTS = ("embedding", "gate", "timestep_weight", "prototype_distance", "class_score", "log_density")
DECODING_THREADS = 2  # decoding overlaps with the engines; more would only compete with them for the cores
DEFAULT_BATCH_SIZE = 8

AnyImage: TypeAlias = "ImageSource | GpuArray | ImageOnGpu"


class Screener:
    """Turns images into verdicts with one bundle, variant and engine. Usually made by `protoleak.load`.

    Attributes:
        bundle: the checked bundle.
        variant: the name of the variant in use.
        alpha: significance level.
    """

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str] | None = None,
        *,
        alpha: float | None = None,
        variant: str | None = None,
        engine: str = "auto",
        threads: int | None = None,
        engine_options: EngineOptions | None = None,
    ) -> None:
        """See `protoleak.load` for the arguments and errors."""
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
        manifest = self.bundle.manifest
        options = engine_options or EngineOptions()
        name, _ = choose(engine, options.device)  # once, so that both graphs run on the same
        chosen = self.bundle.variant(choose_variant(manifest, variant, name)[0])
        self.variant = chosen.name
        self.alpha = manifest.alpha if alpha is None else alpha
        self._rule = DecisionRule(manifest.generators, manifest.real_class, chosen.calibration, self.alpha)
        encoder, attributor = graphs_of(chosen)
        noising = Noising.of(manifest, self.bundle.noise_bank)
        shapes = ExpectedShapes(self.bundle.path, manifest)
        self._line = open_line(name, encoder, attributor, noising, shapes, options, threads)
        self._bundle_record = BundleRecord(manifest.name, self.bundle.sha256, chosen.name)

    @property
    def engine(self) -> EngineDescription:
        """What executes the graphs."""
        return self._line.describe()

    def __call__(self, images: AnyImage | Sequence[AnyImage]) -> list[Verdict]:
        """The verdicts of one image or of many, in order.

        Args:
            images: one of, or a sequence of: a path, an encoded image as bytes, a Pillow image, uint8 [H, W, 3] in RGB
                order. One uint8 [N, H, W, 3] is N images. With TensorRT also an array on the GPU (PyTorch, CuPy,
                pycuda): uint8 [S, S, 3] or [N, S, S, 3], S being the bundle's image size. It is used where it lies;
                its pixels are downloaded once, for the SHA-256 in the verdict.

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
        batch: list[PreparedImage] = []
        for item in self._prepared(images, batch_size):
            if isinstance(item, PreparedImage):
                if batch and not adjoin(batch[-1], item):
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

    def stream(
        self,
        source: str | os.PathLike[str] | FrameSource,
        *,
        faces: FaceFinder = "auto",
        face_model: str | os.PathLike[str] | None = None,
        face_score: float = 0.7,
        minimum_face: int = 48,
        margin: float = 0.25,
        every: float = 1.0,
        minimum_evidence: int = 3,
        max_seconds: float | None = None,
        batch_size: int = 4,
        sinks: Sequence[Sink] = (),
        detector: FaceDetector | None = None,
    ) -> Iterator[Event]:
        """Videos: what there is to say of a video, camera or network stream, while it is being read.

            for event in screener.stream("clip.mp4", faces="yunet", face_model="yunet.onnx"):
                if isinstance(event, protoleak.video.events.TrackEvent):
                    print(event.track, event.track_verdict.label)

        For the settings see `protoleak.video.settings.StreamSettings`; for the rest `protoleak.video.stream.stream`.

        Args:
            source: a file, a camera's number, an address, or a `FrameSource` that is open already.
            sinks: who looks on, such as writers of files.
            detector: one of your own in place of the one that `faces` names.
        """
        from protoleak.video.settings import StreamSettings
        from protoleak.video.stream import stream

        settings = StreamSettings(
            faces=faces,
            face_model=None if face_model is None else Path(face_model),
            face_score=face_score,
            minimum_face=minimum_face,
            margin=margin,
            every=every,
            minimum_evidence=minimum_evidence,
            max_seconds=max_seconds,
            batch_size=batch_size,
        )
        return stream(self, source, settings, sinks, detector)

    def _as_list(self, images: AnyImage | Sequence[AnyImage]) -> list[AnyImage | MediaError]:
        if isinstance(images, np.ndarray):
            return list(images) if images.ndim == 4 else [images]
        if on_gpu(images):
            try:
                return list(self._line.take("images", images))  # type: ignore[arg-type]  # on_gpu says that it is one
            except MediaError as error:
                return [error]
        if isinstance(images, (str, bytes, bytearray, os.PathLike, Image.Image, ImageOnGpu)):
            return [images]
        return list(images)  # type: ignore[arg-type]  # nothing else is left

    def _prepared(
        self, images: Iterable[AnyImage | MediaError], batch_size: int
    ) -> Iterator[PreparedImage | MediaError]:
        """Decodes ahead of the engines, by at most one batch."""
        pool = ThreadPoolExecutor(DECODING_THREADS, thread_name_prefix="protoleak-decode")
        waiting: deque[Future[PreparedImage | MediaError]] = deque()
        try:
            for index, image in enumerate(images):
                if isinstance(image, ImageOnGpu) or on_gpu(image):
                    waiting.append(done(self._prepare_on_gpu(image, index)))  # type: ignore[arg-type]  # see on_gpu
                else:
                    waiting.append(pool.submit(self._prepare, image, index))  # type: ignore[arg-type]
                if len(waiting) > batch_size:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _prepare(self, image: ImageSource | MediaError, index: int) -> PreparedImage | MediaError:
        if isinstance(image, MediaError):
            return image
        started = time.perf_counter()
        try:
            opened = open_image(image, name=f"image {index}")
        except MediaError as error:
            return error
        decoded = time.perf_counter()
        pixels = preprocess(opened.image, self.bundle.manifest.preprocessing.image_size)
        finished = time.perf_counter()
        spent = {"decode": 1000 * (decoded - started), "preprocess": 1000 * (finished - decoded)}
        return PreparedImage(opened.name, opened.source, input_record(opened), opened.notes, pixels, spent)

    def _prepare_on_gpu(self, image: GpuArray | ImageOnGpu, index: int) -> PreparedImage | MediaError:
        """In the thread that runs the line, since a GPU's context belongs to a thread."""
        started, name = time.perf_counter(), f"image {index}"
        if not isinstance(image, ImageOnGpu):
            try:
                taken = self._line.take(name, image)
            except MediaError as error:
                return error
            if len(taken) != 1:
                return MediaError(f"{name}: {len(taken)} images in one array: give them one by one here")
            image = taken[0]
        height, width = image.pixels.shape[:2]
        record = InputRecord(
            hashlib.sha256(image.pixels.tobytes()).hexdigest(), "pixels", image.pixels.nbytes, width, height
        )
        spent = {"decode": 1000 * (time.perf_counter() - started), "preprocess": 0.0}
        return PreparedImage(name, None, record, (), image.array, spent)

    def _judge(self, batch: list[PreparedImage]) -> Iterator[Verdict | EngineError]:
        if not batch:
            return
        try:
            yield from self._verdicts(batch)
        except EngineError as error:
            if len(batch) == 1:
                yield EngineError(f"{batch[0].name}: {error}")
                return
            for one in batch:  # find the image that it was, and answer for the others
                yield from self._judge([one])

    def _verdicts(self, batch: list[PreparedImage]) -> list[Verdict]:
        result = self._line.run(together(batch))
        shared = {stage: spent / len(batch) for stage, spent in result.milliseconds.items()}
        return [
            self._verdict(one, {name: values[index] for name, values in result.outputs.items()}, shared)
            for index, one in enumerate(batch)
        ]

    def _verdict(self, one: PreparedImage, outputs: dict[str, Array], shared: dict[str, float]) -> Verdict:
        started = time.perf_counter()
        log_density = float(outputs["log_density"])
        decision = self._rule.decide(outputs["class_score"], log_density)
        why = explain(
            self.bundle.manifest,
            self.bundle.prototypes,
            decision.nearest,
            embedding=outputs["embedding"],
            gate=outputs["gate"],
            timestep_weight=outputs["timestep_weight"],
            prototype_distance=outputs["prototype_distance"],
        )
        spent = one.milliseconds | shared | {"decision": 1000 * (time.perf_counter() - started)}
        return Verdict(
            source=one.source,
            label=decision.label,
            generator=decision.generator,
            nearest=decision.nearest,
            p_value=decision.p_value,
            real_p_value=decision.real_p_value,
            accusation_level=self._rule.accusation_level,
            alpha=self.alpha,
            calibration=decision.calibration,
            log_density=log_density,
            scores=decision.scores,
            probabilities=decision.probabilities,
            why=why,
            notes=list(one.notes),
            input=one.record,
            bundle=self._bundle_record,
            engine=self.engine,
            milliseconds={stage: round(value, 3) for stage, value in spent.items()},
        )


def graphs_of(variant: Variant) -> tuple[Graph, Graph]:
    """The latent encoder and the attributor of a variant, as engines take them."""
    return (
        Graph("latent encoder", variant.latent_encoder, LATENT_ENCODER_OUTPUTS),
        Graph("attributor", variant.attributor, ATTRIBUTOR_OUTPUTS),
    )
