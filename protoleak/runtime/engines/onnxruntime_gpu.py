"""ONNX Runtime's CUDA and TensorRT providers: whole batches, bound to memory on the GPU."""

from __future__ import annotations

import ctypes
import hashlib
import sys
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from protoleak.arrays import Array
from protoleak.errors import EngineError, EngineUnavailable
from protoleak.files import cache_folder
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.engines.base import (
    TOGETHER,
    EngineDescription,
    Graph,
    after_time_limit,
    check_finite,
    check_outputs,
    check_same_graph,
    too_slow,
)
from protoleak.runtime.engines.failures import explain
from protoleak.runtime.engines.gpu import Gpu, find_gpu
from protoleak.runtime.engines.onnxruntime import (
    ERRORS_ONLY,
    ONNX_ALONE,
    PROVIDER,
    both_installed,
    import_onnxruntime,
    mend,
    reported,
)

PACKAGE = "onnxruntime-gpu"
CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
# The second of TensorRT's providers takes what TensorRT leaves; the CPU's is always added by ONNX Runtime itself.
PROVIDERS = {"onnxruntime-cuda": (CUDA,), "onnxruntime-tensorrt": (TENSORRT, CUDA)}
LIBRARIES = {CUDA: ("libcudart", "libcublas", "libcudnn"), TENSORRT: ("libnvinfer", "libnvonnxparser")}


def import_gpu_build(engine: str) -> Any:
    """The module, in a build that has the providers that an engine needs, with CUDA's libraries loaded.

    Raises:
        EngineUnavailable: it is not that build, or half overwritten; the message names the commands.
    """
    onnxruntime = import_onnxruntime(PACKAGE)
    available = onnxruntime.get_available_providers()
    missing = [provider for provider in PROVIDERS[engine] if provider not in available]
    if missing:
        if both_installed():
            raise EngineUnavailable(
                f"{engine}: onnxruntime was installed over onnxruntime-gpu, so that {' and '.join(missing)} is gone: "
                f"{mend(PACKAGE)}"
            )
        raise EngineUnavailable(f"{engine} needs another build of ONNX Runtime than the one here: {mend(PACKAGE)}")
    if hasattr(onnxruntime, "preload_dlls"):  # from 1.21 on: finds the libraries that pip installed
        onnxruntime.preload_dlls()
    # Its default log warns in every session that a provider of its own isn't a plug-in.
    onnxruntime.set_default_logger_severity(ERRORS_ONLY)
    return onnxruntime


def library_problem(engine: str) -> str | None:
    """Why a library that an engine's providers need cannot be loaded, or None. ONNX Runtime offers its TensorRT
    provider whether TensorRT is there or not, and says so only in its log."""
    if sys.platform == "win32":  # libraries have other names there
        return None
    for provider in PROVIDERS[engine]:
        for library in LIBRARIES[provider]:
            if (problem := _load_problem(library)) is not None:
                return problem
    return None


class OnnxRuntimeGpuEngine:
    """Runs whole batches. Inputs and outputs stay bound to buffers on the GPU, made once per batch size.

    TF32 is off: float32 layers are computed in float32, as the variant's gate and thresholds assume.
    """

    def __init__(
        self, name: str, graph: Graph, options: EngineOptions | None = None, threads: int | None = None
    ) -> None:
        """
        Args:
            name: "onnxruntime-cuda" or "onnxruntime-tensorrt".
            threads: of the processor, for what doesn't run on the GPU; None for all cores.

        Raises:
            EngineUnavailable: no GPU, a library is missing, or ONNX Runtime gave other providers than those asked for.
            EngineOutOfMemory, EngineError: the graph doesn't fit, or is refused.
        """
        options = options or EngineOptions()
        gpu = find_gpu(options.device)
        onnxruntime = import_gpu_build(name)
        settings = {"batch": TOGETHER, "tf32": "off"}
        providers: list[Any] = []
        for provider in PROVIDERS[name]:
            if provider == TENSORRT:
                profile = _input_shapes(onnxruntime, graph, name)
                providers.append((TENSORRT, _tensorrt_options(onnxruntime, graph, gpu, profile, options)))
            else:
                providers.append((CUDA, cuda_settings(options.device)))
        session = open_session(onnxruntime, graph, name, providers, threads)
        # Another batch than those of the profile would make TensorRT build anew.
        most = options.batch_maximum if TENSORRT in PROVIDERS[name] else None
        self._bound = BoundSession(onnxruntime, session, name, graph, "cuda", options.device, most)
        self._description = EngineDescription(
            name,
            f"{PROVIDERS[name][0]} on {gpu.name} (compute capability {gpu.compute_capability})",
            {"numpy": np.__version__, PACKAGE: onnxruntime.__version__},
            settings,
        )

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """See `Engine.run`."""
        return self._bound.run(feeds)

    def describe(self) -> EngineDescription:
        return self._description

    def close(self) -> None:
        """See `Engine.close`."""
        self._bound.close()


class BoundSession:
    """A session whose inputs and outputs are bound to one device's memory, whichever that is.

    Args:
        device_type: ONNX Runtime's word for the device, "cuda" or "cpu".
        batch_maximum: larger batches are run in parts; None for any size at once.
    """

    def __init__(
        self,
        onnxruntime: Any,
        session: Any,
        engine: str,
        graph: Graph,
        device_type: str,
        device: int,
        batch_maximum: int | None = None,
    ) -> None:
        check_outputs(graph, {output.name for output in session.get_outputs()})
        check_same_graph(graph, engine, *reported(session))
        self._onnxruntime, self._session, self._engine, self._graph = onnxruntime, session, engine, graph
        self._device, self._batch_maximum = (device_type, device), batch_maximum
        self._inputs: dict[tuple[str, tuple[int, ...]], Any] = {}
        self._lock = threading.Lock()  # the buffers are for one run at a time

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """See `Engine.run`."""
        count = len(next(iter(feeds.values())))
        size = self._batch_maximum or count
        with self._lock:
            try:
                parts = [
                    self._run({name: values[first : first + size] for name, values in feeds.items()})
                    for first in range(0, count, size)
                ]
            except EngineError:
                raise
            except Exception as error:  # its exception classes are private to the compiled module
                raise explain(error, self._graph.stage, self._engine) from error
        columns = zip(*parts, strict=True)
        outputs = {name: np.concatenate(column) for name, column in zip(self._graph.outputs, columns, strict=True)}
        check_finite(self._graph.stage, outputs)
        return outputs

    def close(self) -> None:
        """See `Engine.close`. The inputs' memory goes before the session whose allocator gave it."""
        with self._lock:
            self._inputs.clear()
            self._session = None

    def _run(self, feeds: Mapping[str, Array]) -> list[Array]:
        binding = self._session.io_binding()
        for name, values in feeds.items():
            contiguous = np.ascontiguousarray(values)
            key = name, contiguous.shape
            if key not in self._inputs:
                # Not ortvalue_from_numpy: on a CPU that is the caller's own memory, to be overwritten later.
                self._inputs[key] = self._onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                    contiguous.shape, contiguous.dtype, *self._device
                )
            self._inputs[key].update_inplace(contiguous)
            binding.bind_ortvalue_input(name, self._inputs[key])
        for name in self._graph.outputs:
            binding.bind_output(name, *self._device)
        options = self._onnxruntime.RunOptions()
        with after_time_limit(partial(setattr, options, "terminate", True)) as run:
            try:
                self._session.run_with_iobinding(binding, options)
            except Exception as error:  # see `run`
                if run.is_late:
                    raise too_slow(self._graph, self._engine) from error
                raise
        # Copied: on the CPU these are views of the binding's memory.
        return [np.array(values) for values in binding.copy_outputs_to_cpu()]


def cuda_settings(device: int) -> dict[str, object]:
    """Of the CUDA provider. Convolutions are chosen by rule: chosen by timing, as is ONNX Runtime's habit, they may be
    others in the next process, and the last bits of a verdict with them.

    Args:
        device: CUDA device ordinal.
    """
    return {"device_id": device, "use_tf32": 0, "cudnn_conv_algo_search": "HEURISTIC"}


def open_session(onnxruntime: Any, graph: Graph, name: str, providers: list[Any], threads: int | None) -> Any:
    """A session with these providers and no others but the processor's.

    Raises:
        EngineUnavailable: ONNX Runtime went on without one of them; the message says which library is missing.
        EngineOutOfMemory, EngineError: the graph doesn't fit, or is refused.
    """
    session_options = onnxruntime.SessionOptions()
    session_options.log_severity_level = ERRORS_ONLY
    session_options.use_deterministic_compute = True
    session_options.add_session_config_entry(*ONNX_ALONE)
    if threads is not None:
        session_options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(graph.model, session_options, providers=providers)
    except Exception as error:  # its exception classes are private to the compiled module
        raise explain(error, graph.stage, name) from error
    given = session.get_providers()
    if given != [*PROVIDERS[name], PROVIDER]:
        raise _fallback(name, graph.stage, given)
    return session


def _fallback(name: str, stage: str, given: list[str]) -> EngineUnavailable:
    """ONNX Runtime went on without a provider and said why only in its log: find out and say it."""
    if (problem := library_problem(name)) is not None:
        return EngineUnavailable(str(explain(problem, stage, name)))
    return EngineUnavailable(
        f"ONNX Runtime gave {', '.join(given)} where {', '.join(PROVIDERS[name])} was asked for; its log above says why"
    )


def _load_problem(library: str) -> str | None:
    """Why no version of a shared library can be loaded, or None."""
    problem = None
    for version in {"libcudart": (13, 12), "libcublas": (13, 12), "libcudnn": (9,)}.get(library, (11, 10)):
        try:
            ctypes.CDLL(f"{library}.so.{version}")
        except OSError as error:
            problem = problem or str(error)
        else:
            return None
    return problem


def _input_shapes(onnxruntime: Any, graph: Graph, name: str) -> dict[str, list[int]]:
    """Each input's shape without the batch. A session on the CPU reads them, since inference has no ONNX parser."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(*ONNX_ALONE)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(graph.model, options, providers=[PROVIDER])
    except Exception as error:
        raise explain(error, graph.stage, name) from error
    shapes = {item.name: list(item.shape[1:]) for item in session.get_inputs()}
    for item, shape in shapes.items():
        if not all(isinstance(length, int) for length in shape):
            raise EngineError(
                f"the {graph.stage} leaves more than the batch of {item!r} open: {shape}; export it again"
            )
    return shapes


def _tensorrt_options(
    onnxruntime: Any, graph: Graph, gpu: Gpu, shapes: dict[str, list[int]], options: EngineOptions
) -> dict[str, object]:
    """Without fp16 and int8 flags the provider builds strongly typed, from the types in the graph."""

    def profile(batch: int) -> str:
        return ",".join(f"{name}:{'x'.join(map(str, [batch, *shape]))}" for name, shape in shapes.items())

    identity = "\n".join(
        [
            hashlib.sha256(graph.model).hexdigest(),
            onnxruntime.__version__,
            f"{gpu.name} {gpu.compute_capability}",
            f"{profile(1)} {profile(options.batch_optimum)} {profile(options.batch_maximum)} {options.workspace_mib}",
        ]
    )
    folder = cache_folder("onnxruntime-tensorrt") / hashlib.sha256(identity.encode()).hexdigest()[:32]
    settings: dict[str, object] = {
        "device_id": options.device,
        "trt_profile_min_shapes": profile(1),
        "trt_profile_opt_shapes": profile(options.batch_optimum),
        "trt_profile_max_shapes": profile(options.batch_maximum),
    }
    if options.workspace_mib is not None:
        settings["trt_max_workspace_size"] = options.workspace_mib * 2**20
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        options.notify(f"plans cannot be kept in {folder} ({error.strerror}): they are built anew every time")
        return settings
    cache = {"trt_engine_cache_enable": True, "trt_timing_cache_enable": True}
    paths = {"trt_engine_cache_path": str(folder), "trt_timing_cache_path": str(folder)}
    return settings | cache | paths
