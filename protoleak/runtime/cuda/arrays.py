"""Arrays that are on the GPU already, taken as they are: PyTorch, CuPy, pycuda, or our own buffers.

Two protocols are spoken: DLPack, where it is offered, because the producer then makes our stream wait for its own; and
`__cuda_array_interface__`, where we make our stream wait for the stream that the interface names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from protoleak.errors import ProtoleakError
from protoleak.runtime.cuda.library import cuda_core

DLPACK_CPU, DLPACK_CUDA, DLPACK_CUDA_HOST, DLPACK_CUDA_MANAGED = 1, 2, 3, 13
LEGACY_DEFAULT_STREAM = 1  # the number that both protocols give it
ON_THE_CPU = "this array is on the CPU: move it to the GPU first, or call the CPU path, which takes NumPy arrays"


class DeviceArrayError(ProtoleakError):
    """An array cannot be used where it is. The message names the argument and what is wrong with it."""


@dataclass(frozen=True)
class DeviceArray:
    """Memory on the GPU, seen as an array. Holding one keeps the memory alive.

    Attributes:
        pointer: device address of the first element.
        shape, dtype: as in NumPy.
        strides: bytes from one element to the next along each axis.
        device: CUDA device ordinal; None where the producer doesn't tell.
        readonly: it may not be written.
        owner: what the memory belongs to.
    """

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: tuple[int, ...]
    device: int | None = None
    readonly: bool = False
    owner: object = field(default=None, repr=False, compare=False)

    @property
    def bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie in C order without gaps."""
        steps = zip(self.shape, self.strides, packed_strides(self.shape, self.dtype), strict=True)
        return prod(self.shape) == 0 or all(length == 1 or stride == packed for length, stride, packed in steps)


class SupportsDlpack(Protocol):
    """What PyTorch and CuPy give."""

    def __dlpack_device__(self) -> tuple[Any, Any]: ...


class SupportsCudaArrayInterface(Protocol):
    """What pycuda and Numba give."""

    @property
    def __cuda_array_interface__(self) -> Any: ...


GpuArray: TypeAlias = DeviceArray | SupportsDlpack | SupportsCudaArrayInterface


class _StreamPointer:
    """A stream that is only known by its address, in the protocol that cuda.core takes."""

    def __init__(self, address: int) -> None:
        self.address = address

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.address


def packed_strides(shape: Sequence[int], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Bytes per step along each axis of a C-ordered array without gaps."""
    return tuple(dtype.itemsize * prod(shape[axis + 1 :]) for axis in range(len(shape)))


def on_gpu(value: object) -> bool:
    """Whether a value is an array on a CUDA device. No package is imported to tell."""
    if isinstance(value, DeviceArray):
        return True
    if isinstance(value, np.ndarray):
        return False
    if hasattr(value, "__dlpack_device__"):
        return value.__dlpack_device__()[0] in (DLPACK_CUDA, DLPACK_CUDA_MANAGED)
    return hasattr(value, "__cuda_array_interface__")


def device_array(name: str, array: object, stream: Any = None) -> DeviceArray:
    """Takes an array on the GPU without a copy. Not during a graph capture: it may make the stream wait.

    Args:
        name: what messages call the argument.
        array: anything with `__dlpack__` or `__cuda_array_interface__`.
        stream: cuda.core Stream that is going to use the array; it is made to wait for what the producer has enqueued.
            None: the caller has synchronised.

    Raises:
        DeviceArrayError: it is on the CPU, on a device that isn't CUDA, or speaks neither protocol.
        MissingExtra: cuda.core is not installed and DLPack has to be read.
    """
    if isinstance(array, DeviceArray):
        return array
    if hasattr(array, "__dlpack__") and hasattr(array, "__dlpack_device__"):
        return _from_dlpack(name, array, stream)
    if hasattr(array, "__cuda_array_interface__"):
        return _from_interface(name, array, stream)
    if hasattr(array, "__array_interface__"):
        raise DeviceArrayError(f"{name}: {ON_THE_CPU}")
    raise DeviceArrayError(
        f"{name} is a {type(array).__name__}, which offers neither __dlpack__ nor __cuda_array_interface__: give a "
        "PyTorch, CuPy or pycuda array on the GPU"
    )


def expect(
    name: str,
    array: DeviceArray,
    shape: Sequence[int | None],
    dtypes: Sequence[npt.DTypeLike],
    *,
    device: int | None = None,
    written: bool = False,
    contiguous: bool = True,
) -> DeviceArray:
    """The same array, checked.

    Args:
        name: what messages call the argument.
        shape: the length of each axis; None where any will do.
        dtypes: those that are allowed.
        device: CUDA device ordinal that it must be on; None for any.
        written: it is going to be written, so it may not be read-only.
        contiguous: it must be in C order without gaps.

    Raises:
        DeviceArrayError: names the property that is wrong, its value and what is expected.
    """
    wanted = "[" + ", ".join("any" if length is None else str(length) for length in shape) + "]"
    if len(array.shape) != len(shape) or any(
        length not in (None, actual) for length, actual in zip(shape, array.shape, strict=True)
    ):
        raise DeviceArrayError(f"{name} has the shape {list(array.shape)}; expected {wanted}")
    allowed = [np.dtype(dtype) for dtype in dtypes]
    if array.dtype not in allowed:
        names = " or ".join(dtype.name for dtype in allowed)
        raise DeviceArrayError(f"{name} is of {array.dtype.name}; expected {names}")
    if contiguous and not array.contiguous:
        raise DeviceArrayError(
            f"{name} has strides of {list(array.strides)} bytes for the shape {list(array.shape)}; expected C order "
            "without gaps: make it contiguous first"
        )
    if written and array.readonly:
        raise DeviceArrayError(f"{name} is read-only, and a result is to be written there: give a writable array")
    if device is not None and array.device not in (None, device):
        raise DeviceArrayError(f"{name} is on CUDA device {array.device}; expected device {device}")
    if array.pointer == 0 and array.bytes:
        raise DeviceArrayError(f"{name} has a null pointer for {array.bytes} bytes: its memory was freed or never made")
    if array.pointer % array.dtype.itemsize:
        raise DeviceArrayError(f"{name} lies at {array.pointer:#x}, which is no address of a {array.dtype.name}")
    return array


def _from_dlpack(name: str, array: object, stream: Any) -> DeviceArray:
    kind, device = cast(Any, array).__dlpack_device__()
    if kind in (DLPACK_CPU, DLPACK_CUDA_HOST):
        raise DeviceArrayError(f"{name}: {ON_THE_CPU}")
    if kind not in (DLPACK_CUDA, DLPACK_CUDA_MANAGED):
        raise DeviceArrayError(f"{name} is on DLPack device type {int(kind)}, not on a CUDA device (2)")
    view_of = cuda_core().utils.StridedMemoryView.from_dlpack
    try:
        view = view_of(array, stream_ptr=-1 if stream is None else int(stream.handle))
        dtype = np.dtype(view.dtype)
    except (BufferError, NotImplementedError, TypeError) as error:
        raise DeviceArrayError(f"{name} cannot be taken through DLPack: {error}") from error
    strides = packed_strides(view.shape, dtype)
    if view.strides is not None:  # in elements
        strides = tuple(step * dtype.itemsize for step in view.strides)
    # The view, not only the array, is kept: closing it gives the producer the memory back.
    return DeviceArray(view.ptr, tuple(view.shape), dtype, strides, int(device), bool(view.readonly), view)


def _from_interface(name: str, array: object, stream: Any) -> DeviceArray:
    """Version 2 and 3 of the protocol, https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html."""
    interface = cast(Mapping[str, Any], cast(Any, array).__cuda_array_interface__)
    missing = [key for key in ("shape", "typestr", "data", "version") if key not in interface]
    if missing:
        raise DeviceArrayError(f"{name}: its __cuda_array_interface__ lacks {', '.join(missing)}")
    if interface.get("mask") is not None:
        raise DeviceArrayError(f"{name} is a masked array: give it without a mask")
    shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
    strides = interface.get("strides")
    pointer, readonly = interface["data"]
    if stream is not None:
        # Before version 3 nothing is said of streams; what such producers use, unless told otherwise, is the default.
        producer = interface.get("stream") if interface["version"] >= 3 else LEGACY_DEFAULT_STREAM
        if producer == 0:
            raise DeviceArrayError(f"{name} names stream 0, which its protocol forbids as ambiguous")
        if producer is not None and producer != int(stream.handle):
            stream.wait(_StreamPointer(producer))
    packed = packed_strides(shape, dtype)
    return DeviceArray(
        int(pointer), shape, dtype, packed if strides is None else tuple(strides), None, bool(readonly), array
    )
