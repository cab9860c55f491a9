"""Access to the optional package cuda.core, and to the folder that what it compiles is kept in."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
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


def kernel_cache() -> Path:
    """$PROTOLEAK_CACHE/kernels, or ~/.cache/protoleak/kernels."""
    root = os.environ.get("PROTOLEAK_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "protoleak") / "kernels"
