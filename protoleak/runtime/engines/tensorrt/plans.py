"""A plan from the cache, or built and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

from protoleak.errors import EngineError
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.engines.base import Graph
from protoleak.runtime.engines.gpu import Gpu
from protoleak.runtime.engines.tensorrt.builder import build_plan
from protoleak.runtime.engines.tensorrt.library import Library
from protoleak.runtime.engines.tensorrt.plan_cache import Plan, PlanCache, PlanRecord
from protoleak.runtime.engines.tensorrt.settings import PlanKey, plan_key

Opened = TypeVar("Opened")


def obtain_plan(
    library: Library,
    graph: Graph,
    options: EngineOptions,
    target: Gpu | tuple[str, ...],
    cache: PlanCache,
    *,
    any_profile: bool = False,
) -> Plan:
    """The plan of a graph; built when the cache lacks it, or always with `options.rebuild`.

    Args:
        target: the GPU that is here, or compute capabilities for TensorRT-RTX to build for ahead of time.
        any_profile: a cached plan with another profile or workspace will do, such as one from `protoleak build-plans`.

    Raises:
        As `plan_key` and `build_plan`.
    """
    key = plan_key(library, graph, options, target)
    if not options.rebuild:
        cached = cache.find(key) if any_profile else cache.load(key)
        if cached is not None:
            return cached
    with cache.building(key, lambda: options.progress("waiting for another process that builds this plan", 0, 0)):
        # Another process may have built it meanwhile.
        cached = None if options.rebuild else cache.load(key)
        return cached or _build(library, graph, options, key, cache)


def open_plan(
    library: Library,
    graph: Graph,
    options: EngineOptions,
    gpu: Gpu,
    cache: PlanCache,
    deserialise: Callable[[bytes], Opened | None],
) -> tuple[Opened, Plan]:
    """A plan for the GPU that is here, deserialised. A cached one that cannot be is discarded and built again, once.

    Raises:
        EngineError: a plan that was just built cannot be deserialised either.
    """
    plan = obtain_plan(library, graph, options, gpu, cache, any_profile=True)
    opened = deserialise(plan.data)
    if opened is None and plan.cached:
        options.notify(
            f"{library.name} {library.version} cannot use the cached plan of the {graph.stage}: it is built again"
        )
        cache.discard(plan)
        plan = obtain_plan(library, graph, options, gpu, cache)
        opened = deserialise(plan.data)
    if opened is None:
        cache.discard(plan)
        raise EngineError(
            f"{library.name} {library.version} cannot load the plan that it has just built for the {graph.stage} on "
            f"{gpu.name}: update NVIDIA's driver, or use --engine onnxruntime"
        )
    return opened, plan


def _build(library: Library, graph: Graph, options: EngineOptions, key: PlanKey, cache: PlanCache) -> Plan:
    name = f"{library.name}-{library.version}-{hashlib.sha256(key.identity.gpu.encode()).hexdigest()[:12]}"
    built = build_plan(library, graph, key, cache.load_timings(name), options.progress)
    if built.timings:
        cache.store_timings(name, built.timings)
    record = PlanRecord(
        plan_sha256=hashlib.sha256(built.data).hexdigest(),
        plan_bytes=len(built.data),
        key=key,
        stage=graph.stage,
        layers=built.layers,
        layers_from="builder" if built.layers else "",
        seconds=round(built.seconds, 3),
    )
    return cache.store(built.data, record)
