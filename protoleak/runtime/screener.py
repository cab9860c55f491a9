"""The whole line of inference: images in, verdicts out."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import msgspec
import numpy as np
from PIL import Image

from protoleak.bundle import Bundle, Variant
from protoleak.errors import BundleError, EngineError, MediaError, ProtoleakError
from protoleak.runtime.decision import DecisionRule, explain
from protoleak.runtime.engines import EngineDescription, EngineOptions, Graph, choose, open_engine
from protoleak.runtime.engines.base import Array
from protoleak.runtime.media import ImageSource, OpenedImage, UInt8Array, open_image
from protoleak.runtime.noising import Noising
from protoleak.runtime.preprocess import preprocess
from protoleak.runtime.variants import choose_variant
from protoleak.runtime.verdict import BundleRecord, InputRecord, Verdict

LATENT_ENCODER_OUTPUTS = ("z0",)
ATTRIBUTOR_OUTPUTS = ("embedding", "gate", "timestep_weight", "prototype_distance", "class_score", "log_density")
DECODING_THREADS = 2  # decoding overlaps with the engines; more would only compete with them for the cores
DEFAULT_BATCH_SIZE = 8


@dataclass(frozen=True)
class _Prepared:
    """An image ready for the latent encoder; the full picture is let go, so that few large ones are in memory."""

    name: str
    source: str | None
    record: InputRecord
    notes: tuple[str, ...]
    pixels: UInt8Array
    milliseconds: dict[str, float]


class Screener:
    """Turns images into verdicts with one bundle, variant and engine. Usually made by `protoleak.load`.

    Attributes:
        bundle: the checked bundle.
        variant: the name of the variant in use.
        alpha: significance level.
        engine: what executes the graphs.
    """

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str] | None = None,
        *,
        alpha: float = 0.05,
        variant: str | None = None,
        engine: str = "auto",
        threads: int | None = None,
        engine_options: EngineOptions | None = None,
    ) -> None:
        """See `protoleak.load` for the arguments and errors."""
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
        manifest = self.bundle.manifest
        chosen = self.bundle.variant(choose_variant(manifest, variant)[0])
        self.variant = chosen.name
        self.alpha = alpha
        self._rule = DecisionRule(manifest, chosen.calibration, alpha)
        self._noising = Noising.of(manifest, self.bundle.noise_bank)
        options = engine_options or EngineOptions()
        name, _ = choose(engine, options.device)  # once, so that both graphs run on the same
        encoder, attributor = graphs_of(chosen)
        self._latent_encoder = open_engine(name, encoder, threads=threads, options=options)
        self._attributor = open_engine(name, attributor, threads=threads, options=options)
        self.engine = _of_both(self._latent_encoder.describe(), self._attributor.describe())
        self._bundle_record = BundleRecord(manifest.name, self.bundle.sha256, chosen.name)

    def __call__(self, images: ImageSource | Sequence[ImageSource]) -> list[Verdict]:
        """The verdicts of one image or of many, in order.

        Args:
            images: one of, or a sequence of: a path, an encoded image as bytes, a Pillow image, uint8 [H, W, 3] in RGB
                order. One uint8 [N, H, W, 3] is N images.

        Raises:
            MediaError: an image cannot be read; no verdicts are returned then. Use `stream` to go on with the others.
            EngineError: the network's outputs are not finite.
        """
        verdicts = []
        for outcome in self.stream(_as_list(images)):
            if isinstance(outcome, ProtoleakError):
                raise outcome
            verdicts.append(outcome)
        return verdicts

    def stream(
        self, images: Iterable[ImageSource | MediaError], batch_size: int = DEFAULT_BATCH_SIZE
    ) -> Iterator[Verdict | MediaError | EngineError]:
        """One outcome per image, in order: its verdict, or the error that names it. The images are taken as needed.

        Args:
            images: as in `__call__`; an error in its place is handed on, so that sources which could not be listed
                keep their place.
            batch_size: images that go through the engines together; verdicts don't depend on it.
        """
        if batch_size < 1:
            raise ProtoleakError(f"batch size {batch_size}: give 1 or more")
        batch: list[_Prepared] = []
        for item in self._prepared(images, batch_size):
            if isinstance(item, _Prepared):
                batch.append(item)
                if len(batch) == batch_size:
                    yield from self._judge(batch)
                    batch = []
            else:  # an error keeps its place: what was collected before it comes first
                yield from self._judge(batch)
                batch = []
                yield item
        yield from self._judge(batch)

    def _prepared(
        self, images: Iterable[ImageSource | MediaError], batch_size: int
    ) -> Iterator[_Prepared | MediaError]:
        """Decodes ahead of the engines, by at most one batch."""
        pool = ThreadPoolExecutor(DECODING_THREADS, thread_name_prefix="protoleak-decode")
        waiting: deque[Future[_Prepared | MediaError]] = deque()
        try:
            for index, image in enumerate(images):
                waiting.append(pool.submit(self._prepare, image, index))
                if len(waiting) > batch_size:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _prepare(self, image: ImageSource | MediaError, index: int) -> _Prepared | MediaError:
        if isinstance(image, MediaError):
            return image
        started = time.perf_counter()
        try:
            opened = open_image(image, name=f"image {index}")
        except MediaError as error:
            return error
        decoded = time.perf_counter()
        pixels = preprocess(opened.picture, self.bundle.manifest.preprocessing.image_size)
        finished = time.perf_counter()
        spent = {"decode": 1000 * (decoded - started), "preprocess": 1000 * (finished - decoded)}
        return _Prepared(opened.name, opened.source, _input_record(opened), opened.notes, pixels, spent)

    def _judge(self, batch: list[_Prepared]) -> Iterator[Verdict | EngineError]:
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

    def _verdicts(self, batch: list[_Prepared]) -> list[Verdict]:
        clock = [time.perf_counter()]
        images = np.stack([one.pixels for one in batch])
        z0 = self._latent_encoder.run({"image": images})["z0"]
        self._check_shape("latent encoder", "z0", z0, (len(batch), *self.bundle.manifest.latent_shape))
        clock.append(time.perf_counter())
        z_t = self._noising(z0.astype(np.float32, copy=False))
        clock.append(time.perf_counter())
        outputs = self._attributor.run({"z_t": z_t})
        self._check_attributor(outputs, len(batch))
        clock.append(time.perf_counter())
        stages = ("latent_encoder", "noising", "attributor")
        shared = {
            stage: 1000 * (after - before) / len(batch)
            for stage, before, after in zip(stages, clock, clock[1:], strict=False)
        }
        return [
            self._verdict(one, {name: values[index] for name, values in outputs.items()}, shared)
            for index, one in enumerate(batch)
        ]

    def _verdict(self, one: _Prepared, outputs: dict[str, Array], shared: dict[str, float]) -> Verdict:
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
            verdict=decision.verdict,
            generator=decision.generator,
            nearest=decision.nearest,
            p_value=decision.p_value,
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

    def _check_attributor(self, outputs: dict[str, Array], n: int) -> None:
        manifest = self.bundle.manifest
        generators, size = len(manifest.generators), manifest.embedding_size
        shapes = {
            "embedding": (n, size),
            "gate": (n, size),
            "timestep_weight": (n, len(manifest.timesteps)),
            "prototype_distance": (n, generators, manifest.prototypes_per_generator),
            "class_score": (n, generators),
            "log_density": (n,),
        }
        for name, shape in shapes.items():
            self._check_shape("attributor", name, outputs[name], shape)

    def _check_shape(self, stage: str, name: str, values: Array, shape: tuple[int, ...]) -> None:
        if values.shape != shape:
            raise BundleError(
                f"{self.bundle.path}: the {stage} gives {name!r} as {list(values.shape)}, the manifest asks for "
                f"{list(shape)}: export the bundle again"
            )


def _of_both(latent_encoder: EngineDescription, attributor: EngineDescription) -> EngineDescription:
    """The attributor's description, with what is set otherwise for the latent encoder."""
    differing = {
        f"latent_encoder_{name}": value
        for name, value in latent_encoder.settings.items()
        if attributor.settings.get(name) != value
    }
    return msgspec.structs.replace(attributor, settings=attributor.settings | differing)


def graphs_of(variant: Variant) -> tuple[Graph, Graph]:
    """The latent encoder and the attributor of a variant, as engines take them."""
    return (
        Graph("latent encoder", variant.latent_encoder, LATENT_ENCODER_OUTPUTS),
        Graph("attributor", variant.attributor, ATTRIBUTOR_OUTPUTS),
    )


def _as_list(images: ImageSource | Sequence[ImageSource]) -> list[ImageSource]:
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, (str, bytes, bytearray, os.PathLike, Image.Image)):
        return [images]
    return list(images)


def _input_record(opened: OpenedImage) -> InputRecord:
    width, height = opened.picture.size
    return InputRecord(opened.sha256, opened.hashed, opened.size, width, height)
