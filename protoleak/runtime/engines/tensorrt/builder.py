"""ONNX → plan. Strongly typed: each layer computes in the types of the graph, so an fp16 variant is an fp16 plan."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from protoleak.errors import EngineError
from protoleak.progress import Progress
from protoleak.runtime.engines.base import Graph
from protoleak.runtime.engines.failures import OUT_OF_MEMORY, explain
from protoleak.runtime.engines.tensorrt.layers import is_layer_report, precisions_of_report
from protoleak.runtime.engines.tensorrt.library import Library
from protoleak.runtime.engines.tensorrt.ports import check_network
from protoleak.runtime.engines.tensorrt.settings import PlanKey


@dataclass(frozen=True)
class BuiltPlan:
    """What the builder gave.

    Attributes:
        data: the plan.
        layers: precision → layers, as the builder reported them; {} where this version doesn't.
        timings: the timing cache after the build.
        seconds: what it took.
    """

    data: bytes
    layers: dict[str, int]
    timings: bytes
    seconds: float


def build_plan(library: Library, graph: Graph, key: PlanKey, timings: bytes, progress: Progress) -> BuiltPlan:
    """Builds a plan.

    Args:
        timings: TensorRT's timing cache from earlier builds, or b"".
        progress: called with the build's phases as stages. What it raises ends the build and is raised
            again.

    Raises:
        EngineOutOfMemory: the message names the limit and the engine that needs less.
        EngineUnavailable: no GPU or driver where this library needs one.
        EngineError: an operator or shape that this version cannot build, or it reads another graph than was checked.
    """
    trt = library.module
    started = time.perf_counter()
    log = log_class(trt)()
    try:
        builder = trt.Builder(log)
        network = builder.create_network(_creation_flags(trt))
        parser = trt.OnnxParser(network, log)
    except Exception as error:  # pybind11 turns a null pointer into a TypeError; the reason is in the log
        raise explain(f"{log.reason() or error}", graph.stage, library.name) from error
    if not parser.parse(graph.model):
        errors = [_parser_error(parser.get_error(index)) for index in range(parser.num_errors)]
        raise EngineError(
            f"{library.name} {library.version} cannot read the {graph.stage}: {'; '.join(errors) or log.reason()}: "
            "export the bundle with a lower --opset, or use a newer version"
        )
    check_network(library, graph, network)
    config = _config(library, builder, network, key, log)
    monitor = _monitor_class(trt)(progress)
    if hasattr(config, "progress_monitor"):
        config.progress_monitor = monitor
    # TensorRT-RTX times nothing when it builds, so it has no use for one.
    cache = None if library.ahead_of_time else _timing_cache(config, timings)
    data = builder.build_serialized_network(network, config)
    if monitor.stopped_by is not None:
        raise monitor.stopped_by
    if data is None:
        raise _failure(library, graph, key, log)
    after = cache.serialize() if cache is not None else None
    return BuiltPlan(
        data=bytes(data),
        layers=precisions_of_report(log.layer_report),
        timings=b"" if after is None else bytes(after),
        seconds=time.perf_counter() - started,
    )


def _creation_flags(trt: Any) -> int:
    """TensorRT 11 is always strongly typed; where the flag is still there it is asked for."""
    flag = getattr(getattr(trt, "NetworkDefinitionCreationFlag", None), "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _config(library: Library, builder: Any, network: Any, key: PlanKey, log: Any) -> Any:
    trt = library.module
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # else the inspector tells no types
    for flag in key.identity.flags:
        change = config.set_flag if flag[0] == "+" else config.clear_flag
        change(getattr(trt.BuilderFlag, flag[1:]))
    if key.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, key.workspace_mib * 2**20)
    if library.ahead_of_time:
        config.num_compute_capabilities = len(key.compute_capabilities)
        for index, capability in enumerate(key.compute_capabilities):
            member = f"SM{capability.replace('.', '')}"
            if not config.set_compute_capability(getattr(trt.ComputeCapability, member), index):
                raise EngineError(f"{library.name} refuses compute capability {capability}: {log.reason()}")
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        fixed = tuple(tensor.shape)[1:]
        if any(length < 0 for length in fixed):
            raise EngineError(f"more than the batch of {tensor.name!r} is open: {tuple(tensor.shape)}; export it again")
        profile.set_shape(tensor.name, *((batch, *fixed) for batch in (1, key.batch_optimum, key.batch_maximum)))
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(f"{library.name} refuses batches of 1 to {key.batch_maximum}: {log.reason()}")
    return config


def _timing_cache(config: Any, timings: bytes) -> Any:
    """Measurements of another GPU or version are refused by TensorRT itself; an empty cache takes their place then."""
    for data in (timings, b"") if timings else (b"",):
        cache = config.create_timing_cache(data)
        if cache is not None and config.set_timing_cache(cache, False):
            return cache
    return None


def _failure(library: Library, graph: Graph, key: PlanKey, log: Any) -> Exception:
    reason = log.reason()
    if not OUT_OF_MEMORY.search(reason) and "workspace" in reason.lower() and key.workspace_mib is not None:
        return EngineError(
            f"{library.name} cannot build the {graph.stage} in a workspace of {key.workspace_mib} MiB ({reason}): give "
            "more with --workspace"
        )
    return explain(reason or "the builder gave no reason", graph.stage, library.name)


def _parser_error(error: Any) -> str:
    """What is wrong, and with which node; versions before 10.1 don't tell the node."""
    named = [getattr(error, name)() for name in ("node_operator", "node_name") if hasattr(error, name)]
    text = " ".join(str(error.desc()).split())
    return f"{' '.join(filter(None, named))}: {text}" if any(named) else text


def log_class(trt: Any) -> type[Any]:
    """A class, since its base is only there when TensorRT is."""

    class Log(trt.ILogger):  # type: ignore[misc]  # the module carries no types
        """Keeps errors and the report of layers; prints nothing."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.layer_report = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(message)
            elif is_layer_report(message):
                self.layer_report = message

        def reason(self) -> str:
            """The errors in one line; the first is mostly the cause."""
            return "; ".join(" ".join(text.split()) for text in self.errors[:3])

    return Log


def _monitor_class(trt: Any) -> type[Any]:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # see above
        """Hands the outer phases on. An exception may not pass through TensorRT, so it is kept and the build ended."""

        def __init__(self, progress: Progress) -> None:
            trt.IProgressMonitor.__init__(self)
            self._progress = progress
            self._phases: dict[str, tuple[int, int]] = {}  # name → depth and number of steps
            self.stopped_by: BaseException | None = None

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            depth = self._phases[parent_phase][0] + 1 if parent_phase in self._phases else 0
            self._phases[phase_name] = depth, num_steps
            self._tell(phase_name, 0)

        def phase_finish(self, phase_name: str) -> None:
            if phase_name in self._phases:
                self._tell(phase_name, self._phases[phase_name][1])
                del self._phases[phase_name]

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(phase_name, step + 1)
            return self.stopped_by is None

        def _tell(self, phase: str, done: int) -> None:
            depth, total = self._phases.get(phase, (9, 0))
            if depth > 1 or self.stopped_by is not None:
                return
            try:
                self._progress(phase, min(done, total), total)
            except BaseException as error:  # raised again by build_plan; KeyboardInterrupt comes this way too
                self.stopped_by = error

    return Monitor
