"""Access to the optional package cuda.core and to its compiler."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from protoleak.errors import EngineUnavailable, MissingExtra


def cuda_core() -> Any:
    """The module `cuda.core`. It carries no types, hence Any.

    Raises:
        MissingExtra: it, or the cuda.bindings under it, is not installed.
    """
    try:
        return import_module("cuda.core")
    except ImportError as error:
        raise MissingExtra("cuda-core", "cuda") from error


def nvrtc_version() -> tuple[int, int]:
    """Major and minor version of the NVRTC that `cuda.core` compiles with.

    Raises:
        MissingExtra: cuda.bindings is not installed.
        EngineUnavailable: the NVRTC library itself is not there.
    """
    try:
        nvrtc = import_module("cuda.bindings.nvrtc")
    except ImportError as error:
        raise MissingExtra("cuda-core", "cuda") from error
    try:
        _, major, minor = nvrtc.nvrtcVersion()
    except Exception as error:  # cuda.pathfinder's own error, or RuntimeError in its older versions
        raise EngineUnavailable(
            f'the CUDA compiler NVRTC cannot be loaded ({error}): pip install "protoleak[cuda]", or install the CUDA '
            "toolkit"
        ) from error
    return major, minor
