"""What a measurement has to name: processor, cores, GPU, libraries, commit."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import msgspec

from protoleak.environment.jetson import read_jetson
from protoleak.environment.processors import processors
from protoleak.environment.versions import library_versions, source_commit
from protoleak.errors import EngineUnavailable

LIBRARIES = (
    *("protoleak", "numpy", "pillow", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx"),
    *("cuda-core", "torch", "diffusers"),
)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured.

    Attributes:
        cores: that this process may use.
        load_average: over one minute, before the first row; a busy machine makes the numbers worse.
        commit: of protoleak's source where it runs from a git checkout, with "+changes" where files differ from it.
        jetson: power mode and clocks where this is a Jetson.
    """

    processor: str
    cores: int
    system: str
    python: str
    gpu: str | None
    libraries: dict[str, str]
    load_average: float | None
    commit: str | None
    jetson: dict[str, str] | None


def describe_machine(device: int = 0) -> Machine:
    """This machine, now.

    Args:
        device: CUDA device ordinal of the GPU to name.
    """
    return Machine(
        processor=processor(),
        cores=processors(),
        system=platform.platform(),
        python=platform.python_version(),
        gpu=_gpu(device),
        libraries=library_versions(LIBRARIES),
        load_average=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        commit=source_commit(),
        jetson=read_jetson(),
    )


def processor(information: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name as the system gives it."""
    try:
        for line in information.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip().lower() in ("model name", "hardware"):
                return value.strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _gpu(device: int) -> str | None:
    from protoleak.runtime.engines.gpu import find_gpu

    try:
        gpu = find_gpu(device)
    except EngineUnavailable:
        return None
    return f"{gpu.name} (compute capability {gpu.compute_capability}, {gpu.memory / 2**30:.0f} GiB)"
