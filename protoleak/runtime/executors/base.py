"""Images to the attributor's outputs: latent encoder, noising and attributor, wherever they run."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import msgspec
import numpy as np

from protoleak.arrays import Array, UInt8Array
from protoleak.bundle.manifest import Manifest
from protoleak.errors import BundleError, EngineUnavailable, MediaError
from protoleak.runtime.cuda.arrays import DeviceArray, GpuArray
from protoleak.runtime.engines import Engine, EngineDescription, EngineOptions, Graph, check_options, open_engine
from protoleak.runtime.noising import Noising

TENSORRT = ("tensorrt", "tensorrt-rtx")


@dataclass(frozen=True)
class LineResult:
    """What a line made of a batch.

    Attributes:
        outputs: of the attributor, by name, all finite; the first axis is the batch.
        milliseconds: stage → time that the whole batch took in it.
    """

    outputs: dict[str, Array]
    milliseconds: dict[str, float]


@dataclass(frozen=True)
class ImageOnGpu:
    """One image that a caller has on the GPU.

    Attributes:
        array: uint8 [S, S, 3] there, in RGB order.
        pixels: the same on the host: a verdict names the SHA-256 of its input, which is computed there.
    """

    array: DeviceArray
    pixels: UInt8Array


class Line(Protocol):
    """One bundle's variant on one engine."""

    def run(self, images: UInt8Array | DeviceArray) -> LineResult:
        """The attributor's outputs for uint8 [N, S, S, 3], N ≥ 1; on the GPU only what `take` gave.

        Raises:
            BundleError: a graph gives another shape than the manifest says.
            EngineError: a run failed, or z0 or an output holds NaN or infinite values; the message names the stage.
        """
        ...

    def take(self, name: str, images: GpuArray) -> list[ImageOnGpu]:
        """A caller's images on the GPU, uint8 [S, S, 3] or [N, S, S, 3] in RGB order, without a copy there.

        Args:
            name: what messages call them.

        Raises:
            MediaError: they don't fit, or this line takes its images from the processor's memory.
        """
        ...

    def describe(self) -> EngineDescription: ...


@dataclass(frozen=True)
class ExpectedShapes:
    """What the manifest says of the graphs' outputs.

    Attributes:
        path: the bundle's, for messages.
    """

    path: str | os.PathLike[str]
    manifest: Manifest

    def check_z0(self, shape: tuple[int, ...], batch: int) -> None:
        """Raises BundleError when the latent encoder's output has another shape."""
        self._check("latent encoder", "z0", shape, (batch, *self.manifest.latent_shape))

    def check_outputs(self, shapes: Mapping[str, tuple[int, ...]], batch: int) -> None:
        """Raises BundleError naming the attributor's output that has another shape."""
        generators, size = len(self.manifest.generators), self.manifest.embedding_size
        expected = {
            "embedding": (batch, size),
            "gate": (batch, size),
            "timestep_weight": (batch, len(self.manifest.timesteps)),
            "prototype_distance": (batch, generators, self.manifest.prototypes_per_generator),
            "class_score": (batch, generators),
            "log_density": (batch,),
        }
        for name, shape in expected.items():
            self._check("attributor", name, shapes[name], shape)

    def _check(self, stage: str, name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
        if found != expected:
            raise BundleError(
                f"{self.path}: the {stage} gives {name!r} as {list(found)}, the manifest asks for "
                f"{list(expected)}: export the bundle again"
            )


class CpuLine:
    """Two engines, wherever they run, with NumPy's noising between them: images, z0 and z_t pass through host memory.

    Args:
        settings: what the record says on top of the engines' own settings.
    """

    def __init__(
        self,
        latent_encoder: Engine,
        attributor: Engine,
        noising: Noising,
        shapes: ExpectedShapes,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._latent_encoder, self._attributor, self._noising, self._shapes = (
            latent_encoder,
            attributor,
            noising,
            shapes,
        )
        described = describe_both(latent_encoder.describe(), attributor.describe())
        self._description = msgspec.structs.replace(described, settings=described.settings | dict(settings or {}))

    def run(self, images: UInt8Array | DeviceArray) -> LineResult:
        """See `Line.run`."""
        assert isinstance(images, np.ndarray), "`take` gives nothing that is on a GPU"
        clock = [time.perf_counter()]
        z0 = self._latent_encoder.run({"image": images})["z0"]
        self._shapes.check_z0(z0.shape, len(images))
        clock.append(time.perf_counter())
        z_t = self._noising(z0.astype(np.float32, copy=False))
        clock.append(time.perf_counter())
        outputs = self._attributor.run({"z_t": z_t})
        self._shapes.check_outputs({name: values.shape for name, values in outputs.items()}, len(images))
        clock.append(time.perf_counter())
        stages = ("latent_encoder", "noising", "attributor")
        spent = [1000 * (after - before) for before, after in pairwise(clock)]
        return LineResult(outputs, dict(zip(stages, spent, strict=True)))

    def take(self, name: str, images: GpuArray) -> list[ImageOnGpu]:
        """Raises MediaError: nothing is taken from a GPU here."""
        raise MediaError(
            f"{name}: this {type(images).__name__} is on a GPU, and images for the engine {self._description.name} "
            "come from the processor's memory: give it as a NumPy array, or load with engine='tensorrt' or "
            "'tensorrt-rtx'"
        )

    def describe(self) -> EngineDescription:
        return self._description


def open_line(
    engine: str,
    latent_encoder: Graph,
    attributor: Graph,
    noising: Noising,
    shapes: ExpectedShapes,
    options: EngineOptions,
    threads: int | None = None,
) -> Line:
    """The line of a bundle's two graphs: wholly on the GPU with TensorRT and TensorRT-RTX, else a `CpuLine`.

    Args:
        engine: one of `engines.ENGINES`.
        threads: processor threads for one run; None for the engine's own choice.

    Raises:
        EngineUnavailable, EngineOutOfMemory, EngineError: see `open_engine`.
        MissingExtra: cuda.core is not installed, which TensorRT needs here.
    """
    check_options(engine, options, threads)
    if engine in TENSORRT:
        from protoleak.runtime.executors.gpu import CudaLine, open_noising, open_worker_and_engines

        worker, encoder_plan, attributor_plan = open_worker_and_engines(engine, latent_encoder, attributor, options)
        try:
            on_gpu = open_noising(worker, noising)
        except EngineUnavailable as error:
            options.notify(f"noising runs on the CPU: {error}")
            return CpuLine(encoder_plan, attributor_plan, noising, shapes, {"noising": f"on the CPU: {error}"})
        return CudaLine(worker, encoder_plan, attributor_plan, on_gpu, shapes, options)
    return CpuLine(
        open_engine(engine, latent_encoder, threads=threads, options=options),
        open_engine(engine, attributor, threads=threads, options=options),
        noising,
        shapes,
    )


def describe_both(latent_encoder: EngineDescription, attributor: EngineDescription) -> EngineDescription:
    """The attributor's description, with what is set otherwise for the latent encoder."""
    differing = {
        f"latent_encoder_{name}": value
        for name, value in latent_encoder.settings.items()
        if attributor.settings.get(name) != value
    }
    return msgspec.structs.replace(attributor, settings=attributor.settings | differing)
