"""OpenVINO on the CPU: Intel's, AMD's and ARM's."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from collections.abc import Iterator, Mapping, Set
from functools import cache
from typing import Any

import numpy as np

from protoleak.arrays import Array
from protoleak.bundle.graph_check import differences, names_in
from protoleak.bundle.onnx_model import FLOAT, FLOAT16, INT64, UINT8, Declared
from protoleak.choices import Arithmetic
from protoleak.environment.instructions import bfloat16, instructions
from protoleak.errors import EngineError, EngineUnavailable, first_line
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.engines import base, openvino_cache
from protoleak.runtime.engines.base import (
    ONE_BY_ONE,
    EngineDescription,
    Graph,
    check_outputs,
    check_same_graph,
    run_one_by_one,
    too_slow,
)
from protoleak.runtime.engines.openvino_norms import spread_group_norms
from protoleak.runtime.engines.openvino_sizes import excess

# OpenVINO's names of the element types that graphs' inputs and outputs have here.
ELEMENT_TYPES = {"f32": FLOAT, "f16": FLOAT16, "u8": UINT8, "i64": INT64}
OTHER = -1
INSTALL = 'pip install "protoleak[openvino]"'
TELEMETRY = "openvino_telemetry"
CONVERTER = "openvino.tools.ovc"


def import_openvino() -> Any:
    """The module, which carries few types, without its telemetry, and without its converter until that is asked for.

    Raises:
        EngineUnavailable: it is not installed.
    """
    try:
        with _without(TELEMETRY), _without(CONVERTER):
            import openvino
    except ImportError as error:
        raise EngineUnavailable(f"openvino cannot be imported ({error}): {INSTALL}") from error
    if not hasattr(openvino, "convert_model"):
        openvino.convert_model = _convert_model
    return openvino


def _convert_model(*arguments: Any, **options: Any) -> Any:
    """openvino.convert_model for others in this process who use it: imported by its first use."""
    from openvino.tools.ovc import convert_model

    return convert_model(*arguments, **options)


@contextlib.contextmanager
def _without(name: str) -> Iterator[None]:
    """Hides a package, so that OpenVINO does as on machines without it. It is hidden from this import alone: a program
    that uses it itself goes on to.

    openvino_telemetry, imported, starts a process that looks up an analytics host, and writes ~/intel/openvino_ga_cid;
    it has no switch that leaves no file. OpenVINO has a stub for it. The converter of other frameworks' models is a
    third of the time that importing OpenVINO takes.
    """
    missing = object()
    before = sys.modules.get(name, missing)
    sys.modules[name] = None  # type: ignore[assignment]  # documented: the import of that name fails
    try:
        yield
    finally:
        if before is missing:
            del sys.modules[name]
        else:
            sys.modules[name] = before  # type: ignore[assignment]


@cache
def core_of(openvino: Any) -> Any:
    """The one `Core` of this process: each would make the plugin for processors anew.

    Raises:
        EngineUnavailable: its plugin for processors is missing, as in a program that was frozen without it.
    """
    core = openvino.Core()
    try:
        core.get_property("CPU", "FULL_DEVICE_NAME")
    except RuntimeError as error:
        raise EngineUnavailable(
            f"openvino is here without its plugin for processors ({first_line(error)}): {INSTALL}"
        ) from error
    return core


def bf16_problem(core: Any) -> str | None:
    """Why bfloat16 is no use on this processor, or None.

    OpenVINO also takes it where it can only convert, and is then slower than in float32: the processor's own
    instructions are looked at, too, where the system tells them.
    """
    found = instructions()
    native = found is None or bfloat16(found) is not None
    if native and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return None
    name = core.get_property("CPU", "FULL_DEVICE_NAME").strip()
    return f"{name} has no bfloat16 arithmetic (AMX or AVX-512-BF16)"


def bf16_hardware() -> str:
    """What multiplies bfloat16 here, in words."""
    found = instructions()
    return (None if found is None else bfloat16(found)) or "hardware, as OpenVINO says"


class OpenVinoEngine:
    """Runs a graph image by image, compiled for a batch of exactly one.

    Float32 stays float32 unless `options.compute` is "bf16": OpenVINO's own default is bfloat16 wherever the
    processor has it, which would move densities that the bundle's thresholds were not computed for. Int8 layers run
    in int8 either way, because the graph says so.
    """

    def __init__(self, graph: Graph, options: EngineOptions | None = None, threads: int | None = None) -> None:
        """
        Args:
            threads: for one run; None for the physical cores.

        Raises:
            EngineUnavailable: OpenVINO is not installed, or bf16 was asked for on a processor without it.
            EngineError: OpenVINO refuses the graph.
        """
        options = options or EngineOptions()
        openvino = import_openvino()
        core = core_of(openvino)
        if options.bfloat16 and (problem := bf16_problem(core)):
            raise EngineUnavailable(f"{problem}: leave --compute bf16 out")
        hint = "bf16" if options.bfloat16 else "f32"
        config: dict[str, object] = {
            "PERFORMANCE_HINT": "LATENCY",
            "EXECUTION_MODE_HINT": "ACCURACY",  # no approximation beyond the types that are asked for
            "INFERENCE_PRECISION_HINT": hint,
        }
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads
        version = openvino.__version__.split("-")[0]
        device = core.get_property("CPU", "FULL_DEVICE_NAME").strip()
        key = openvino_cache.key_of(graph, openvino.__version__, device, config)
        compiled = _kept(core, graph, key, config)
        if compiled is None:
            try:
                model = core.read_model(io.BytesIO(graph.model))
                wanted = names_in(graph.model)
                seen = _ports(model.inputs, wanted), _ports(model.outputs, wanted)
                model.reshape({port.any_name: [1, *list(port.partial_shape)[1:]] for port in model.inputs})
                if (more := excess(model, graph.model)) is not None:
                    raise ValueError(f"it would make {more}: refused")
                if not options.bfloat16:
                    spread_group_norms(model)
                compiled = core.compile_model(model, "CPU", config)
            except Exception as error:  # RuntimeError, or classes private to the compiled module
                raise EngineError(
                    f"OpenVINO {version} cannot load the {graph.stage}: {first_line(error)}; upgrade openvino or "
                    "export the bundle again"
                ) from error
            check_same_graph(graph, f"OpenVINO {version}", *seen)
            _keep(compiled, graph, key)
        used = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if used != hint:
            raise EngineUnavailable(f"OpenVINO gave the precision {used} where {hint} was asked for")
        check_outputs(graph, {name for port in compiled.outputs for name in port.get_names()})
        self._graph = graph
        self._ports = [compiled.output(name) for name in graph.outputs]
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()  # one request holds one set of buffers
        self._device = device
        self._versions = {"numpy": np.__version__, "openvino": version}
        self._settings = {"batch": ONE_BY_ONE, "precision": hint}
        self._compute: Arithmetic = "exact"
        if options.bfloat16:
            self._compute, self._settings["bf16"] = "bf16", bf16_hardware()

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """See `Engine.run`."""
        with self._lock:
            return run_one_by_one(self._run_one, self._graph, feeds)

    def describe(self) -> EngineDescription:
        return EngineDescription(
            "openvino", f"CPU ({self._device})", dict(self._versions), dict(self._settings), self._compute
        )

    def close(self) -> None:
        """See `Engine.close`."""
        with self._lock:
            self._request, self._ports = None, []

    def _run_one(self, feeds: dict[str, Array]) -> list[Array]:
        for name, values in feeds.items():
            # Its ReLU turns NaN into 0, which would then look like a result.
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise EngineError(f"the {self._graph.stage} was given NaN or infinite values in {name!r}: no verdict")
        try:
            for name, values in feeds.items():
                self._fill(name, values)
            self._request.start_async()
            done = self._request.wait_for(round(1000 * base.RUN_SECONDS))
            if done:
                return [np.array(self._request.get_tensor(port).data) for port in self._ports]
            self._request.cancel()
        except Exception as error:  # see __init__
            raise EngineError(f"the {self._graph.stage} failed in OpenVINO: {_reason(error)}") from error
        with contextlib.suppress(RuntimeError):  # it says that it was cancelled
            self._request.wait()
        raise too_slow(self._graph, "OpenVINO")

    def _fill(self, name: str, values: Array) -> None:
        """Copies an input to where the request has it: looked at by `start_async`, the same takes 0.03 ms more.

        Raises:
            ValueError: it has another shape than the graph takes.
        """
        place = self._request.get_tensor(name).data
        if place.shape != values.shape:
            raise ValueError(f"{name!r} is {list(values.shape)}, and the graph takes {list(place.shape)}")
        np.copyto(place, values, casting="same_kind")


def _kept(core: Any, graph: Graph, key: str, config: Mapping[str, object]) -> Any | None:
    """The compiled graph of an earlier process; None where there is none, or none that OpenVINO takes."""
    blob = openvino_cache.load(key)
    if blob is None:
        return None
    try:
        compiled = core.import_model(io.BytesIO(blob), "CPU", config)
        wanted = names_in(graph.model)
        unlike = differences(graph.model, _ports(compiled.inputs, wanted), _ports(compiled.outputs, wanted))
    except Exception:  # whatever it holds: it is compiled again
        return None
    return None if unlike else compiled


def _keep(compiled: Any, graph: Graph, key: str) -> None:
    if len(graph.model) <= openvino_cache.MOST_BYTES_OF_GRAPH:
        with contextlib.suppress(Exception):  # what cannot be written in that form is compiled each time
            stream = io.BytesIO()
            compiled.export_model(stream)
            openvino_cache.store(key, stream.getvalue())


def _ports(ports: Any, wanted: Set[str]) -> list[Declared]:
    """What OpenVINO says of a graph's inputs or outputs; of several names that it gives a tensor, the file's, which are
    `wanted`."""
    found = []
    for port in ports:
        name = min(port.get_names() & wanted or port.get_names() or {""})
        dynamic = port.partial_shape.rank.is_dynamic
        shape = (
            None if dynamic else tuple(None if axis.is_dynamic else axis.get_length() for axis in port.partial_shape)
        )
        found.append(Declared(name, ELEMENT_TYPES.get(port.element_type.get_type_name(), OTHER), shape))
    return found


def _reason(error: Exception) -> str:
    """Its messages begin with the places in its own source."""
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith(("Exception", "Check"))]
    return lines[0].strip() if lines else first_line(error)
