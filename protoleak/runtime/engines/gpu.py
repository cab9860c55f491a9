"""Which NVIDIA GPU is here, asked of the driver itself: no package is needed for that."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

from protoleak.errors import EngineUnavailable

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
MAJOR, MINOR, INTEGRATED = 75, 76, 18  # CUdevice_attribute
SUCCESS, NO_DEVICE = 0, 100  # CUresult


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        name: the driver's name for it.
        compute_capability: such as "8.7".
        memory: bytes in all; on an integrated GPU (Jetson) shared with the processor.
        integrated: it has no memory of its own.
    """

    name: str
    compute_capability: str
    memory: int
    integrated: bool


def find_gpu(device: int = 0) -> Gpu:
    """The GPU with that CUDA ordinal (CUDA_VISIBLE_DEVICES counts).

    Raises:
        EngineUnavailable: no driver, no GPU, or no such ordinal; the message says which.
    """
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        raise EngineUnavailable("there is no NVIDIA driver here: install it, or choose an engine for the CPU") from None
    status = driver.cuInit(0)
    count = ctypes.c_int(0)
    if status == SUCCESS:
        status = driver.cuDeviceGetCount(ctypes.byref(count))
    if status == NO_DEVICE or (status == SUCCESS and count.value == 0):
        raise EngineUnavailable("the NVIDIA driver shows no GPU (CUDA_VISIBLE_DEVICES?): choose an engine for the CPU")
    if status != SUCCESS:
        raise EngineUnavailable(f"the NVIDIA driver does not start (CUDA error {status}): reinstall it or reboot")
    if not 0 <= device < count.value:
        raise EngineUnavailable(f"there is no CUDA device {device}: choose one of 0 to {count.value - 1}")
    handle, name, memory = ctypes.c_int(0), ctypes.create_string_buffer(256), ctypes.c_size_t(0)
    driver.cuDeviceGet(ctypes.byref(handle), device)
    driver.cuDeviceGetName(name, len(name), handle)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)

    def attribute(number: int) -> int:
        value = ctypes.c_int(0)
        driver.cuDeviceGetAttribute(ctypes.byref(value), number, handle)
        return value.value

    capability = f"{attribute(MAJOR)}.{attribute(MINOR)}"
    return Gpu(name.value.decode(errors="replace"), capability, memory.value, bool(attribute(INTEGRATED)))
