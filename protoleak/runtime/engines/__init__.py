"""What executes a bundle's graphs. One file per engine; `open_engine` chooses.

An engine that is asked for by name and cannot run is an error with the install command, never a silent replacement.
"""

from __future__ import annotations

from protoleak.choices import COMPUTES
from protoleak.environment.processors import threads_of_quota
from protoleak.errors import EngineUnavailable
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.engines.availability import AUTO_ORDER, ENGINES, Availability, choose, survey
from protoleak.runtime.engines.base import Engine, EngineDescription, Graph, check_finite

__all__ = [
    "AUTO_ORDER",
    "ENGINES",
    "Availability",
    "Engine",
    "EngineDescription",
    "EngineOptions",
    "Graph",
    "check_finite",
    "check_options",
    "choose",
    "open_engine",
    "survey",
]


def check_options(name: str, options: EngineOptions, threads: int | None = None) -> None:
    """Raises EngineUnavailable for what the engine of this name cannot do."""
    if threads is not None and threads < 1:
        raise EngineUnavailable(f"{threads} threads asked for: give 1 or more, or leave it out for all cores")
    if options.compute not in COMPUTES:
        raise EngineUnavailable(f"compute is {options.compute!r}: choose one of {', '.join(COMPUTES)}")
    if options.bfloat16 and name != "openvino":
        raise EngineUnavailable(
            f"{name} computes in the types of the variant and takes no --compute bf16: use --engine openvino, or "
            "another --variant"
        )


def open_engine(name: str, graph: Graph, *, threads: int | None = None, options: EngineOptions | None = None) -> Engine:
    """An engine with one graph loaded.

    Args:
        name: one of ENGINES, or "auto" for the best that can run here; see `choose`.
        graph: what to run.
        threads: processor threads for one run; None for the engine's own choice, or for as many as a container's quota
            keeps busy where that is less.
        options: everything else.

    Raises:
        EngineUnavailable: no such engine, it cannot run here, or it gives another device than the one asked for.
        EngineOutOfMemory: the graph doesn't fit.
        EngineError: the engine refuses the graph.
    """
    options = options or EngineOptions()
    chosen, _ = choose(name, options.device)
    check_options(chosen, options, threads)
    threads = threads_of_quota() if threads is None else threads
    if chosen == "onnxruntime":
        from protoleak.runtime.engines.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(graph, threads, spinning=options.spinning)
    if chosen == "openvino":
        from protoleak.runtime.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(graph, options, threads)
    if chosen in ("tensorrt", "tensorrt-rtx"):
        from protoleak.runtime.engines.tensorrt.runtime import TensorRtEngine

        return TensorRtEngine(chosen, graph, options)
    from protoleak.runtime.engines.onnxruntime_gpu import OnnxRuntimeGpuEngine

    return OnnxRuntimeGpuEngine(chosen, graph, options, threads)
