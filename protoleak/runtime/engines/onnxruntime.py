"""ONNX Runtime on the CPU: the engine that needs no extra install."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from protoleak.arrays import Array
from protoleak.bundle.onnx_model import FLOAT, FLOAT16, INT64, UINT8, Declared
from protoleak.environment.instructions import instructions
from protoleak.errors import EngineError, EngineUnavailable, first_line
from protoleak.runtime.engines.base import (
    ONE_BY_ONE,
    EngineDescription,
    Graph,
    after_time_limit,
    check_outputs,
    check_same_graph,
    run_one_by_one,
    too_slow,
)

PROVIDER = "CPUExecutionProvider"
ERRORS_ONLY = 3
# ONNX Runtime's names of the element types that graphs' inputs and outputs have here.
ELEMENT_TYPES = {"tensor(float)": FLOAT, "tensor(float16)": FLOAT16, "tensor(uint8)": UINT8, "tensor(int64)": INT64}
OTHER = -1
ONNX_ALONE = ("session.load_model_format", "ONNX")  # else bytes are looked at for its own format, which nobody checks
EXACT_INT8 = frozenset({"avx_vnni", "avx512_vnni"})
REMOVE_BOTH = "pip uninstall -y onnxruntime onnxruntime-gpu"


def import_onnxruntime(package: str = "onnxruntime") -> Any:
    """The module. It carries no types, hence Any.

    Args:
        package: the one to name in the install command, onnxruntime or onnxruntime-gpu: both hold the same module.

    Raises:
        EngineUnavailable: it is not installed, or one of the two was written half over the other.
    """
    try:
        import onnxruntime
    except ImportError as error:
        if both_installed():
            raise EngineUnavailable(f"{_overwritten()} ({error}): {mend(package)}") from error
        raise EngineUnavailable(f"onnxruntime cannot be imported ({error}): pip install {package}") from error
    if not hasattr(onnxruntime, "InferenceSession"):
        raise EngineUnavailable(f"{_overwritten()}: {mend(package)}")
    return onnxruntime


def both_installed() -> bool:
    """Whether pip knows onnxruntime and onnxruntime-gpu, whose files are at the same places."""
    from importlib import metadata  # where it is used: it takes long to import

    for package in ("onnxruntime", "onnxruntime-gpu"):
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            return False
    return True


def mend(package: str) -> str:
    """The two commands that leave exactly one of them."""
    extras = "[cuda,cudnn]" if package == "onnxruntime-gpu" else ""
    return (
        f'{REMOVE_BOTH}, then pip install "{package}{extras}"'
        if extras
        else f"{REMOVE_BOTH}, then pip install {package}"
    )


def _overwritten() -> str:
    return "onnxruntime is half overwritten (onnxruntime and onnxruntime-gpu are the same module)"


class OnnxRuntimeEngine:
    """Runs a graph image by image, whatever the batch.

    ONNX Runtime's CPU kernels don't promise that a row of a batch equals the same image alone, and it often doesn't:
    Log and Softplus use other code for the last elements of a tensor, sums over an outer axis run in another order, and
    convolutions of, say, 30 channels are split over threads in another way in a batch of one. The differences are
    about 1e-7, but a verdict is evidence and must not depend on its neighbours. A batch saves little here anyway, since
    one image keeps all threads busy; docs/decisions/0001-one-image-at-a-time.md has the numbers.
    """

    def __init__(self, graph: Graph, threads: int | None = None, *, spinning: bool = True) -> None:
        """
        Args:
            threads: for one run; None for all cores.
            spinning: see `EngineOptions`.

        Raises:
            EngineUnavailable: ONNX Runtime is not installed, or gives another device than the CPU.
            EngineError: it refuses the graph.
        """
        onnxruntime = import_onnxruntime()
        session_options = onnxruntime.SessionOptions()
        session_options.log_severity_level = ERRORS_ONLY
        session_options.use_deterministic_compute = True
        session_options.add_session_config_entry(*ONNX_ALONE)
        session_options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
        # Else threads of this graph spin on after its run, for as long as a whole run takes, on the cores that the
        # other graph's threads then need: docs/decisions/0030-onnxruntime-and-the-stem.md.
        session_options.add_session_config_entry("session.force_spinning_stop", "1")
        session_options.add_session_config_entry("session.x64quantprecision", str(int(_int8_would_saturate())))
        if threads is not None:
            session_options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(graph.model, session_options, providers=[PROVIDER])
        except Exception as error:  # its exception classes are private to the compiled module
            raise EngineError(
                f"ONNX Runtime {onnxruntime.__version__} cannot load the {graph.stage}: {first_line(error)}; upgrade "
                "onnxruntime or export the bundle again"
            ) from error
        providers = self._session.get_providers()
        if providers != [PROVIDER]:
            raise EngineUnavailable(f"ONNX Runtime gave {', '.join(providers)} where {PROVIDER} was asked for")
        check_outputs(graph, {output.name for output in self._session.get_outputs()})
        check_same_graph(graph, "ONNX Runtime", *reported(self._session))
        self._graph = graph
        self._run_options = onnxruntime.RunOptions
        self._versions = {"numpy": np.__version__, "onnxruntime": onnxruntime.__version__}

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """See `Engine.run`."""
        return run_one_by_one(self._run_one, self._graph, feeds)

    def describe(self) -> EngineDescription:
        return EngineDescription("onnxruntime", PROVIDER, dict(self._versions), {"batch": ONE_BY_ONE})

    def close(self) -> None:
        """See `Engine.close`."""
        self._session = None

    def _run_one(self, feeds: dict[str, Array]) -> list[Array]:
        options = self._run_options()
        with after_time_limit(partial(setattr, options, "terminate", True)) as run:
            try:
                rows: list[Array] = self._session.run(list(self._graph.outputs), feeds, options)
            except Exception as error:  # see __init__
                if run.is_late:
                    raise too_slow(self._graph, "ONNX Runtime") from error
                raise EngineError(f"the {self._graph.stage} failed in ONNX Runtime: {first_line(error)}") from error
        return rows


def _int8_would_saturate() -> bool:
    """Whether this processor sums products of uint8 and int8 in 16 bits, which overflow: x86 without VNNI does, and
    where the system doesn't tell it may.

    ONNX Runtime then multiplies uint8 by uint8, which sums in 32 bits: slower, and the very numbers that VNNI gives.
    Its option does nothing on other processors or in graphs without int8.
    """
    found = instructions()
    return found is None or not found & EXACT_INT8


def reported(session: Any) -> tuple[list[Declared], list[Declared]]:
    """What a session says of its inputs and outputs. Those that may be given or not are inputs too: there are none in
    a bundle."""
    inputs = [*session.get_inputs(), *session.get_overridable_initializers()]
    return [_declared(item) for item in inputs], [_declared(item) for item in session.get_outputs()]


def _declared(item: Any) -> Declared:
    """A NodeArg of ONNX Runtime."""
    shape = tuple(length if isinstance(length, int) else None for length in item.shape)
    return Declared(item.name, ELEMENT_TYPES.get(item.type, OTHER), shape)
