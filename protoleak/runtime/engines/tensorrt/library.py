"""The Python modules of TensorRT and TensorRT-RTX, whose interface is the same.

Versions from 10.3 to 11.x are distinguished by what they have, not by their number.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from protoleak.errors import EngineUnavailable

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
OLDEST = {"tensorrt": (10, 3), "tensorrt-rtx": (1, 0)}
INSTALL = {
    "tensorrt": 'pip install "protoleak[tensorrt]" (on a Jetson: sudo apt install nvidia-jetpack)',
    "tensorrt-rtx": 'pip install "protoleak[tensorrt-rtx]"',
}


@dataclass(frozen=True)
class Library:
    """One of the two.

    Attributes:
        name: "tensorrt" or "tensorrt-rtx".
        module: its Python module, which carries no types.
        version: such as "10.3.0".
    """

    name: str
    module: Any
    version: str

    @property
    def ahead_of_time(self) -> bool:
        """Whether it builds for GPUs that aren't here; plain TensorRT times kernels on the GPU itself."""
        return hasattr(self.module.IBuilderConfig, "set_compute_capability") and self.name == "tensorrt-rtx"

    @property
    def compute_capabilities(self) -> tuple[str, ...]:
        """Those that can be built for ahead of time, such as "8.6"."""
        names = getattr(getattr(self.module, "ComputeCapability", None), "__members__", {})
        found = (re.fullmatch(r"SM(\d+)(\d)", name) for name in names)
        return tuple(f"{match[1]}.{match[2]}" for match in found if match)


def load_library(name: str) -> Library:
    """
    Args:
        name: "tensorrt" or "tensorrt-rtx".

    Raises:
        EngineUnavailable: not installed, broken, or too old; the message has the install command.
    """
    try:
        module = import_module(MODULES[name])
        version = str(module.__version__)
        builder = module.Builder
    except (ImportError, OSError, AttributeError) as error:
        raise EngineUnavailable(f"{name} cannot be imported ({error}): {INSTALL[name]}") from error
    del builder
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST[name]:
        oldest = ".".join(map(str, OLDEST[name]))
        raise EngineUnavailable(f"{name} {version} is too old, {oldest} is needed: {INSTALL[name]}")
    return Library(name, module, version)


def platform() -> str:
    """Operating system and processor: plans don't move between them."""
    import platform as python_platform

    return f"{sys.platform}-{python_platform.machine().lower()}"
