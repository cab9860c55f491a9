"""What a `GpuExecutor` is made of: a stream, and both graphs in engines on it."""

from __future__ import annotations

from dataclasses import replace

from protoleak.runtime.cuda.device import CudaWorker
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.engines.base import Graph
from protoleak.runtime.engines.on_stream import StreamEngine
from protoleak.runtime.executors.base import Graphs


def open_worker_and_engines(
    name: str, graphs: Graphs, options: EngineOptions, looks: int = 1, threads: int | None = None
) -> tuple[CudaWorker, StreamEngine, StreamEngine]:
    """A stream and both engines on it. Raises what the engines and `CudaWorker` raise.

    Args:
        name: "tensorrt", "tensorrt-rtx" or "onnxruntime-cuda".
        looks: images that the latent encoder gets for each face of the attributor's batch.
        threads: of the processor, for what ONNX Runtime doesn't run on the GPU.
    """
    # Before the worker: without a library or a GPU the engine's own message names what to install.
    encoder = _open_engine(name, graphs.latent_encoder, for_looks(options, looks), None, threads)
    return encoder.worker, encoder, _open_engine(name, graphs.attributor, options, encoder.worker, threads)


def _open_engine(
    name: str, graph: Graph, options: EngineOptions, worker: CudaWorker | None, threads: int | None
) -> StreamEngine:
    if name == "onnxruntime-cuda":
        from protoleak.runtime.engines.onnxruntime_stream import OnnxRuntimeStreamEngine

        return OnnxRuntimeStreamEngine(graph, options, worker, threads)
    from protoleak.runtime.engines.tensorrt.runtime import TensorRtEngine

    captured = options.cuda_graph and not options.stage_times
    return TensorRtEngine(name, graph, options, worker, captured=captured)


def for_looks(options: EngineOptions, looks: int) -> EngineOptions:
    """The options of a latent encoder's engine: its batches hold every look at each face."""
    return replace(options, batch_optimum=looks * options.batch_optimum, batch_maximum=looks * options.batch_maximum)
