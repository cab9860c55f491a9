"""Two graphs and the noising between them: the one place where an image becomes the attributor's outputs.

`base` says what an executor is, `host` and `gpu` are the two that there are, and `open_executor` chooses.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from protoleak.arrays import Float32Array
from protoleak.bundle.enrolment import Additions
from protoleak.bundle.manifest import Manifest
from protoleak.errors import EngineUnavailable, MissingExtra
from protoleak.runtime.engines import Engine, EngineOptions, Graph, check_options, open_engine
from protoleak.runtime.engines.availability import CPU_ENGINES
from protoleak.runtime.executors.base import (
    ATTRIBUTOR_OUTPUTS,
    LATENT_ENCODER_OUTPUTS,
    AttributorOutputs,
    Executor,
    ExpectedShapes,
    FrameToCrop,
    Graphs,
    ImageOnGpu,
)
from protoleak.runtime.executors.extended import ExtendedExecutor
from protoleak.runtime.executors.host import HostExecutor
from protoleak.runtime.noising import Noising

__all__ = [
    "ATTRIBUTOR_OUTPUTS",
    "LATENT_ENCODER_OUTPUTS",
    "AttributorOutputs",
    "Executor",
    "ExpectedShapes",
    "ExtendedExecutor",
    "FrameToCrop",
    "Graphs",
    "HostExecutor",
    "ImageOnGpu",
    "open_executor",
]

TENSORRT = ("tensorrt", "tensorrt-rtx")
ON_GPU = (*TENSORRT, "onnxruntime-cuda")  # whose networks and noising are on one stream there


def open_executor(
    engine: str,
    graphs: Graphs,
    manifest: Manifest,
    noise_bank: Float32Array,
    *,
    location: str | os.PathLike[str] = "the bundle",
    options: EngineOptions | None = None,
    threads: int | None = None,
    additions: Additions | None = None,
    warm: bool = False,
) -> Executor:
    """The executor of a variant's graphs: wholly on the GPU with TensorRT, TensorRT-RTX and, where cuda.core is
    installed, ONNX Runtime's CUDA provider; else a `HostExecutor`, whose record says why the noising is on the CPU.

    Args:
        engine: one of `engines.ENGINES`.
        noise_bank: float32 [T, C, h, w], the manifest's.
        location: of the bundle, for messages.
        threads: processor threads for one run; None for the engine's own choice.
        additions: generators that were enrolled, whose scores are computed beside the graph; None for the graph alone.
        warm: on the processor, the attributor runs once while the latent encoder is being opened: what OpenVINO puts
            off until then takes it ten times as long as a run.

    Raises:
        EngineUnavailable, EngineOutOfMemory, EngineError: see `open_engine`.
        MissingExtra: cuda.core is not installed, which TensorRT needs here.
    """
    options = options or EngineOptions()
    check_options(engine, options, threads)
    executor = _of_graphs(engine, graphs, manifest, noise_bank, location, options, threads, warm)
    return executor if additions is None else ExtendedExecutor(executor, additions)


def _open_both(
    engine: str, graphs: Graphs, manifest: Manifest, options: EngineOptions, threads: int | None, warm: bool
) -> tuple[Engine, Engine]:
    """Both engines; on the processor at the same time, since compiling a graph keeps one core busy."""

    def open_one(graph: Graph) -> Engine:
        return open_engine(engine, graph, threads=threads, options=options)

    def open_attributor() -> Engine:
        opened = open_one(graphs.attributor)
        if warm:
            opened.run({manifest.attributor_input: np.zeros((1, *manifest.attributor_input_shape), np.float32)})
        return opened

    if engine not in CPU_ENGINES:
        return open_one(graphs.latent_encoder), open_one(graphs.attributor)
    with ThreadPoolExecutor(1, thread_name_prefix="protoleak-open") as pool:
        attributor = pool.submit(open_attributor)
        try:
            return open_one(graphs.latent_encoder), attributor.result()
        except BaseException:
            if attributor.exception() is None:
                attributor.result().close()
            raise


def _of_graphs(
    engine: str,
    graphs: Graphs,
    manifest: Manifest,
    noise_bank: Float32Array,
    location: str | os.PathLike[str],
    options: EngineOptions,
    threads: int | None,
    warm: bool,
) -> Executor:
    noising, shapes = Noising.of(manifest, noise_bank), ExpectedShapes(location, manifest)
    if engine not in ON_GPU:
        return HostExecutor(*_open_both(engine, graphs, manifest, options, threads, warm), noising, shapes)
    from protoleak.runtime.cuda.library import nvrtc_version
    from protoleak.runtime.cuda.noising import CudaNoising
    from protoleak.runtime.executors.gpu import GpuExecutor
    from protoleak.runtime.executors.gpu_opening import open_worker_and_engines

    try:
        if engine not in TENSORRT:
            nvrtc_version()  # without a compiler there are no kernels, and ONNX Runtime needs none
        worker, latent_encoder, attributor = open_worker_and_engines(engine, graphs, options, shapes.looks, threads)
    except (EngineUnavailable, MissingExtra) as error:
        if engine in TENSORRT:
            raise
        settings = {"noising": f"on the CPU: {error}"}
        return HostExecutor(*_open_both(engine, graphs, manifest, options, threads, warm), noising, shapes, settings)
    try:
        on_gpu = None if manifest.attributor_input == "z0" else CudaNoising(worker, noising)
    except EngineUnavailable as error:
        options.notify(f"noising runs on the CPU: {error}")
        return HostExecutor(latent_encoder, attributor, noising, shapes, {"noising": f"on the CPU: {error}"})
    return GpuExecutor(worker, latent_encoder, attributor, on_gpu, shapes, options)
