"""What executes a bundle's graphs. One file per engine; `open_engine` chooses.

An engine that is asked for by name and cannot run is an error with the install command, never a silent replacement.
"""

from __future__ import annotations

from protoleak.errors import EngineUnavailable
from protoleak.runtime.engines.base import Engine, EngineDescription, Graph, check_finite

__all__ = ["ENGINES", "Engine", "EngineDescription", "Graph", "check_finite", "open_engine"]

ENGINES = ("onnxruntime",)  # the best first: this is the order that "auto" tries


def open_engine(name: str, graph: Graph, *, threads: int | None = None) -> Engine:
    """An engine with one graph loaded.

    Args:
        name: one of ENGINES, or "auto" for the first of them that is installed.
        graph: what to run.
        threads: processor threads for one run; None for the engine's own choice.

    Raises:
        EngineUnavailable: no such engine, it is not installed, or it gives another device than the one asked for.
        EngineError: the engine refuses the graph.
    """
    if name not in ("auto", *ENGINES):
        known = ", ".join(("auto", *ENGINES))
        raise EngineUnavailable(f"there is no engine {name!r}: choose one of {known}")
    if threads is not None and threads < 1:
        raise EngineUnavailable(f"{threads} threads asked for: give 1 or more, or leave it out for all cores")
    from protoleak.runtime.engines.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(graph, threads=threads)
