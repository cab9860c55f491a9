"""Which engines can run here, and which one "auto" takes and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from protoleak.choices import Arithmetic
from protoleak.errors import EngineUnavailable, ProtoleakError

# The best first: "auto" takes the first of these that can run here. onnxruntime-tensorrt is only taken by name: it
# builds the same plans as tensorrt without our checks of them.
AUTO_ORDER = ("tensorrt", "tensorrt-rtx", "onnxruntime-cuda", "openvino", "onnxruntime")
ENGINES = ("tensorrt", "tensorrt-rtx", "onnxruntime-tensorrt", "onnxruntime-cuda", "openvino", "onnxruntime")
CPU_ENGINES = ("openvino", "onnxruntime")
WHY = {
    "tensorrt": "a GPU and TensorRT are here, and its plans are tuned on this very GPU",
    "tensorrt-rtx": "a GPU and TensorRT-RTX are here",
    "onnxruntime-cuda": "a GPU and ONNX Runtime's CUDA build are here",
    "openvino": "no engine for a GPU can run here, and on processors OpenVINO is as fast as ONNX Runtime or faster",
    "onnxruntime": "no engine for a GPU can run here, and OpenVINO isn't installed",
}


@dataclass(frozen=True)
class Availability:
    """One engine on this machine.

    Attributes:
        engine: one of ENGINES.
        runs: whether it can run here.
        detail: library version and device; where it cannot run, the reason with what to install.
        builds: whether it can at least build plans for GPUs that aren't here.
    """

    engine: str
    runs: bool
    detail: str
    builds: bool = False


def survey(device: int = 0) -> list[Availability]:
    """Every engine, in the order of ENGINES. Imports what is installed, so it takes a moment."""
    return [availability(name, device) for name in ENGINES]


def availability(name: str, device: int = 0) -> Availability:
    """Whether one engine can run here.

    Args:
        name: one of ENGINES.
        device: CUDA device ordinal for those that need a GPU.
    """
    try:
        return Availability(name, True, _CHECKS[name](device))
    except ProtoleakError as error:
        return Availability(name, False, str(error), builds=name == "tensorrt-rtx" and _builds_rtx())


def compute_problem(engine: str, compute: Arithmetic) -> str | None:
    """Why an engine is no use here in another arithmetic than that of the graphs' types, or None.

    Raises:
        EngineUnavailable: the engine is not installed.
    """
    if compute == "exact":
        return None
    if engine != "openvino":
        return f"{engine} computes in the types of the variant alone"
    from protoleak.runtime.engines.openvino import bf16_problem, core_of, import_openvino

    return bf16_problem(core_of(import_openvino()))


def own_version(engine: str) -> str:
    """The version of an engine for processors, as its library says it.

    Raises:
        EngineUnavailable: it is not installed.
    """
    if engine == "openvino":
        from protoleak.runtime.engines.openvino import import_openvino

        return str(import_openvino().__version__)
    from protoleak.runtime.engines.onnxruntime import import_onnxruntime

    return str(import_onnxruntime().__version__)


def choose(name: str, device: int = 0) -> tuple[str, str]:
    """The engine for a name given by a user, and why: itself, or for "auto" the best that can run here.

    Raises:
        EngineUnavailable: no such engine, or none can run.
    """
    if name != "auto":
        if name not in ENGINES:
            raise EngineUnavailable(f"there is no engine {name!r}: choose one of {', '.join(('auto', *ENGINES))}")
        return name, "it was asked for by name"
    problems = []
    for candidate in AUTO_ORDER if _has_gpu(device) else CPU_ENGINES:  # no slow imports for a GPU that isn't there
        found = availability(candidate, device)
        if found.runs:
            return candidate, WHY[candidate]
        problems.append(found.detail)
    raise EngineUnavailable(problems[-1])


def _has_gpu(device: int) -> bool:
    from protoleak.runtime.engines.gpu import find_gpu

    try:
        find_gpu(device)
    except EngineUnavailable:
        return False
    return True


def _tensorrt(name: str) -> Callable[[int], str]:
    def check(device: int) -> str:
        from protoleak.runtime.cuda.library import cuda_core
        from protoleak.runtime.engines.gpu import find_gpu
        from protoleak.runtime.engines.tensorrt.library import load_library

        library = load_library(name)
        try:
            gpu = find_gpu(device)
        except EngineUnavailable as error:
            raise EngineUnavailable(f"{name} {library.version} is installed, but {error}") from error
        cuda_core()
        if library.ahead_of_time and gpu.compute_capability not in library.compute_capabilities:
            raise EngineUnavailable(
                f"{name} {library.version} is for compute capability {', '.join(library.compute_capabilities)}, and "
                f"{gpu.name} has {gpu.compute_capability}: use tensorrt"
            )
        return f"{name} {library.version} on {gpu.name} (compute capability {gpu.compute_capability})"

    return check


def _onnxruntime_gpu(name: str) -> Callable[[int], str]:
    def check(device: int) -> str:
        from protoleak.runtime.engines.failures import explain
        from protoleak.runtime.engines.gpu import find_gpu
        from protoleak.runtime.engines.onnxruntime_gpu import import_gpu_build, library_problem

        onnxruntime = import_gpu_build(name)
        gpu = find_gpu(device)
        if (problem := library_problem(name)) is not None:
            raise EngineUnavailable(str(explain(problem, "engine", name)))
        return f"onnxruntime-gpu {onnxruntime.__version__} on {gpu.name}"

    return check


def _openvino(_: int) -> str:
    from protoleak.runtime.engines.openvino import bf16_hardware, bf16_problem, core_of, import_openvino

    openvino = import_openvino()
    core = core_of(openvino)
    processor = core.get_property("CPU", "FULL_DEVICE_NAME").strip()
    bf16 = "no bf16 here" if bf16_problem(core) else f"bf16 in {bf16_hardware()}"
    return f"openvino {openvino.__version__.split('-')[0]} on {processor}; {bf16}"


def _onnxruntime(_: int) -> str:
    from protoleak.runtime.engines.onnxruntime import PROVIDER, import_onnxruntime

    return f"onnxruntime {import_onnxruntime().__version__}, {PROVIDER}"


def _builds_rtx() -> bool:
    from protoleak.runtime.engines.tensorrt.library import load_library

    try:
        return load_library("tensorrt-rtx").ahead_of_time
    except EngineUnavailable:
        return False


_CHECKS: dict[str, Callable[[int], str]] = {
    "tensorrt": _tensorrt("tensorrt"),
    "tensorrt-rtx": _tensorrt("tensorrt-rtx"),
    "onnxruntime-tensorrt": _onnxruntime_gpu("onnxruntime-tensorrt"),
    "onnxruntime-cuda": _onnxruntime_gpu("onnxruntime-cuda"),
    "openvino": _openvino,
    "onnxruntime": _onnxruntime,
}
