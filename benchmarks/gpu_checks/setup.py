"""What the sections measure with: a bundle, faces, and what opens engines and memory on the GPU."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path

import numpy as np

from benchmarks.gpu_checks.precisions import PrecisionMissing, graphs_of
from protoleak.arrays import UInt8Array
from protoleak.bundle.bundle import Bundle
from protoleak.errors import EngineUnavailable, MissingExtra
from protoleak.runtime.cuda.device import CudaWorker
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.engines import Graph
from protoleak.runtime.engines.availability import availability
from protoleak.runtime.engines.on_stream import StreamEngine
from protoleak.runtime.engines.onnxruntime_stream import OnnxRuntimeStreamEngine
from protoleak.runtime.engines.tensorrt.runtime import TensorRtEngine
from protoleak.runtime.executors import ON_GPU, TENSORRT, Executor, Graphs, HostExecutor, open_executor
from protoleak.runtime.executors.base import AttributorOutputs

GPU_ENGINES = (*ON_GPU, "onnxruntime-tensorrt")


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        engines, precisions: that are asked for.
        batch_sizes: faces that go through the engines together.
        faces: that parity is taken over.
        repeats: timed runs of a row.
        memory_runs: of the section on memory.
        matrix_side: of the square matrices whose product is the limit.
        clip: a video for the section on videos.
        device: CUDA device ordinal.
    """

    engines: tuple[str, ...] = GPU_ENGINES
    precisions: tuple[str, ...] = ("fp32", "tf32", "fp16", "int8")
    batch_sizes: tuple[int, ...] = (1, 4, 16, 64)
    faces: int = 64
    repeats: int = 200
    memory_runs: int = 10_000
    matrix_side: int = 4096
    clip: Path | None = None
    device: int = 0


def open_worker(device: int) -> CudaWorker:
    """A stream of its own on the GPU. Raises EngineUnavailable or MissingExtra without one."""
    return CudaWorker(device)


def open_stream_engine(engine: str, graph: Graph, options: EngineOptions) -> StreamEngine:
    """An engine with a stream of its own. Raises as `TensorRtEngine` and `OnnxRuntimeStreamEngine`."""
    return TensorRtEngine(engine, graph, options) if engine in TENSORRT else OnnxRuntimeStreamEngine(graph, options)


def free_memory() -> int:
    """Free bytes of the current device.

    Raises:
        MissingExtra: cuda-bindings are not installed.
    """
    try:
        driver = import_module("cuda.bindings.driver")
    except ImportError as error:
        raise MissingExtra("cuda-bindings", "cuda") from error
    _, free, _ = driver.cuMemGetInfo()
    return int(free)


@dataclass
class Setup:
    """Opened once for all sections.

    Attributes:
        images: uint8 [N, L, S, S, 3]: faces in all looks of the bundle; N is as large as the settings ask for.
        cache: a folder for plans and kernels.
        problem: engine → why it cannot run here, or None; see `availability`.
        open_executor, open_worker, open_stream_engine, free_memory: what touches the GPU.
    """

    bundle: Bundle
    settings: Settings
    images: UInt8Array
    cache: Path
    open_executor: Callable[..., Executor] = open_executor
    open_worker: Callable[[int], CudaWorker] = open_worker
    open_stream_engine: Callable[[str, Graph, EngineOptions], StreamEngine] = open_stream_engine
    free_memory: Callable[[], int] = free_memory
    problem: Callable[[str, int], str | None] = lambda name, device: (
        None if (found := availability(name, device)).runs else found.detail
    )

    @property
    def looks(self) -> int:
        return int(self.images.shape[1])

    def faces(self, count: int, first: int = 0) -> UInt8Array:
        """uint8 [count·L, S, S, 3]: some of the faces, from the beginning again after the last."""
        chosen = (first + np.arange(count)) % len(self.images)
        return self.images[chosen].reshape(-1, *self.images.shape[2:])

    @cached_property
    def reference(self) -> AttributorOutputs:
        """Of all faces, in fp32 by ONNX Runtime on the processor."""
        executor = self.open("onnxruntime", "fp32")
        try:
            return executor.run(self.faces(len(self.images)), stages=True)
        finally:
            executor.close()

    def open(self, engine: str, precision: str, batch: int | None = None, **options: object) -> Executor:
        """An executor.

        Args:
            batch: faces that its plans are tuned for, and at most; None for the largest batch size.
            options: of `EngineOptions`, besides the device and the batches.

        Raises:
            PrecisionMissing: there is no such variant, and it cannot be made here.
            EngineUnavailable: noising would run on the processor, which is not what is measured.
            ProtoleakError: as `open_executor`.
        """
        graphs = Graphs.of(*graphs_of(self.bundle, precision, self.images))
        size = batch or max(self.settings.batch_sizes)
        chosen = EngineOptions(
            device=self.settings.device, batch_optimum=size, batch_maximum=size, notify=lambda _: None
        )
        with own_cache(self.cache / f"batch {size}"), tf32(precision == "tf32"):
            executor = self.open_executor(
                engine,
                graphs,
                self.bundle.manifest,
                self.bundle.noise_bank,
                location=self.bundle.path,
                options=dataclasses.replace(chosen, **options),  # type: ignore[arg-type]  # names are checked there
            )
        if engine in ON_GPU and isinstance(executor, HostExecutor):
            why = executor.describe().settings.get("noising", "")
            executor.close()
            raise EngineUnavailable(f"noising ran {why}")
        return executor

    def combinations(self, engines: Sequence[str]) -> Iterator[tuple[str, str, str | None]]:
        """Engine, precision, and why these two cannot be measured; None where they can."""
        for engine in engines:
            if engine not in self.settings.engines:
                continue
            problem = self.problem(engine, self.settings.device)
            for precision in self.settings.precisions:
                why = problem
                if why is None and precision == "tf32" and engine not in TENSORRT:
                    why = "TF32 is switched on in this benchmark's own TensorRT plans alone"
                if why is None:
                    try:
                        graphs_of(self.bundle, precision, self.images)
                    except PrecisionMissing as error:
                        why = str(error)
                yield engine, precision, why
                if problem is not None:
                    break


@contextmanager
def own_cache(folder: Path) -> Iterator[None]:
    """Plans and kernels are kept in that folder meanwhile: of another one a plan for other batches would be taken,
    which computes the same and is tuned for something else."""
    kept = os.environ.get("PROTOLEAK_CACHE")
    os.environ["PROTOLEAK_CACHE"] = str(folder)
    try:
        yield
    finally:
        if kept is None:
            del os.environ["PROTOLEAK_CACHE"]
        else:
            os.environ["PROTOLEAK_CACHE"] = kept


@contextmanager
def tf32(wanted: bool) -> Iterator[None]:
    """Where wanted, plans are built with TF32 meanwhile, which the product takes away (decision 6)."""
    from protoleak.runtime.engines.tensorrt import settings

    kept = settings.FLAGS_OFF
    if wanted:
        settings.FLAGS_OFF = ()  # type: ignore[assignment]  # TF32 is all that there is
    try:
        yield
    finally:
        settings.FLAGS_OFF = kept
