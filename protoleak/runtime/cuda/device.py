"""What one worker holds on a GPU: a stream of its own, kernels loaded once, buffers made once per shape."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Array
from protoleak.errors import EngineError, EngineUnavailable, first_line
from protoleak.runtime.cuda.arrays import DeviceArray, device_array, packed_strides
from protoleak.runtime.cuda.compile import Source, compile_kernels
from protoleak.runtime.cuda.library import cuda_core

# A pointer is passed as a Python int or a DeviceArray; numbers carry their C type as NumPy scalars.
KernelArgument = DeviceArray | np.int32 | np.int64 | np.float32


class CudaWorker:
    """One CUDA stream and what is used on it. Each thread opens its own; all share the device's primary context.

    Args:
        device: CUDA device ordinal.

    Attributes:
        ordinal: that ordinal.
        architecture: such as "sm_87".
        name: the device's name.
        stream: cuda.core Stream, which doesn't synchronise with the default stream.

    Raises:
        MissingExtra: cuda.core is not installed.
        EngineUnavailable: there is no driver or no such device; the message says which.
    """

    def __init__(self, device: int = 0) -> None:
        self._core = cuda_core()
        try:
            self._device = self._core.Device(device)
            self._device.set_current()
            self.stream: Any = self._device.create_stream()
            self.name: str = self._device.name
            self.architecture = f"sm_{self._device.arch}"
        except Exception as error:  # no driver, no device, a driver that is too old: cuda.core's errors are private
            raise EngineUnavailable(
                f"CUDA device {device} cannot be used here ({first_line(error)}): install NVIDIA's driver, or choose "
                "an engine that runs on the CPU"
            ) from error
        self.ordinal = device
        self._modules: dict[str, Any] = {}
        self._buffers: dict[tuple[str, tuple[int, ...], np.dtype[Any]], DeviceArray] = {}
        self._staging: dict[tuple[str, int], Any] = {}
        self._launched: dict[str, Any] = {}

    def __enter__(self) -> CudaWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Waits for the stream and gives all memory back. Arrays from `buffer` and `upload` are invalid after this."""
        self.synchronize()
        for array in self._buffers.values():
            cast(Any, array.owner).close(self.stream)
        for staging in self._staging.values():
            staging.close()
        self._buffers.clear()
        self._staging.clear()
        self._launched.clear()
        self._modules.clear()
        self.stream.close()

    def enter_thread(self) -> None:
        """Lets the calling thread use this worker; the thread that opened it can already. One thread at a time."""
        self._core.Device(self.ordinal).set_current()

    def synchronize(self) -> None:
        """Waits until everything enqueued on the stream is done; other streams go on."""
        self.stream.sync()

    def buffer(self, name: str, shape: Sequence[int], dtype: npt.DTypeLike) -> DeviceArray:
        """Uninitialised device memory; the same memory whenever name, shape and dtype are the same."""
        key = name, tuple(shape), np.dtype(dtype)
        if key not in self._buffers:
            self._buffers[key] = self._allocate(key[1], key[2])
        return self._buffers[key]

    def allocate(self, shape: Sequence[int], dtype: npt.DTypeLike) -> DeviceArray:
        """Uninitialised device memory of its own, given back when the last array that looks at it is let go: for what
        may be used after other work has come in between."""
        return self._allocate(tuple(shape), np.dtype(dtype))

    def upload(self, values: Array) -> DeviceArray:
        """A copy of an array in new device memory, there when this returns. For constants."""
        array = self._allocate(values.shape, values.dtype)
        self._buffers[f"constant {len(self._buffers)}", array.shape, array.dtype] = array
        self.write(array, values)
        self.synchronize()
        return array

    def write(self, array: DeviceArray, values: Array) -> None:
        """Enqueues a copy of host values into device memory, through pinned memory that is kept for the next time.

        Waits for the copy before, so that the pinned memory is free.
        """
        staging = self._staged("write", array)
        self.synchronize()
        _host_view(staging, array.bytes)[:] = np.ascontiguousarray(values, array.dtype).reshape(-1).view(np.uint8)
        self._device_buffer(array).copy_from(staging, stream=self.stream)

    def read(self, array: DeviceArray) -> Array:
        """The values of a contiguous array on the device, after everything enqueued before."""
        staging = self._staged("read", array)
        self._device_buffer(array).copy_to(staging, stream=self.stream)
        self.synchronize()
        values: Array = _host_view(staging, array.bytes).view(array.dtype).reshape(array.shape).copy()
        return values

    def read_together(self, arrays: Mapping[str, DeviceArray]) -> dict[str, Array]:
        """As `read`, of several arrays with one wait for all of them."""
        staged = {name: self._staged(f"read {name}", array) for name, array in arrays.items()}
        for name, array in arrays.items():
            self._device_buffer(array).copy_to(staged[name], stream=self.stream)
        self.synchronize()
        return {
            name: _host_view(staged[name], array.bytes).view(array.dtype).reshape(array.shape).copy()
            for name, array in arrays.items()
        }

    def copy(self, source: DeviceArray, to: DeviceArray) -> None:
        """Enqueues a copy of a contiguous array into another of the same size, on the device."""
        self._device_buffer(to).copy_from(self._device_buffer(source), stream=self.stream)

    def take(self, name: str, array: object) -> DeviceArray:
        """A caller's array on the GPU, without a copy, ordered before what this worker enqueues next."""
        return device_array(name, array, self.stream)

    def kernel(self, source: Source, name: str) -> Any:
        """A kernel, compiled at its first use on this machine and loaded at its first use by this worker."""
        if source not in self._modules:
            compiled = compile_kernels(source, self.architecture)
            self._modules[source] = self._core.ObjectCode.from_cubin(compiled.cubin, name=source)
        if name not in self._launched:
            self._launched[name] = self._modules[source].get_kernel(name)
        return self._launched[name]

    def launch(
        self, kernel: Any, grid: tuple[int, ...], threads: int, *arguments: KernelArgument, shared_bytes: int = 0
    ) -> None:
        """Enqueues a kernel on the stream.

        Args:
            kernel: from `kernel`.
            grid: blocks along each axis.
            threads: per block.
            shared_bytes: dynamic shared memory per block.
        """
        config = self._core.LaunchConfig(grid=grid, block=threads, shmem_size=shared_bytes)
        passed = (value.pointer if isinstance(value, DeviceArray) else value for value in arguments)
        self._core.launch(self.stream, config, kernel, *passed)

    def mark(self) -> Any:
        """A point on the stream: an event that `milliseconds_between` takes."""
        return self.stream.record(options=self._core.EventOptions(timing_enabled=True))

    def milliseconds_between(self, start: Any, end: Any) -> float:
        """What the device took from one mark to a later one. Waits for the later one."""
        end.sync()
        return float(end - start)

    def timed(self, work: Callable[[], None], repeats: int) -> float:
        """Milliseconds that the device takes per call of `work`, which only enqueues; by events, after one call."""
        work()
        start = self.mark()
        for _ in range(repeats):
            work()
        return self.milliseconds_between(start, self.mark()) / repeats

    def _allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
        size = int(np.prod(shape)) * dtype.itemsize
        try:
            memory = self._device.allocate(size, stream=self.stream)
        except Exception as error:  # cuda.core's error classes are private
            raise EngineError(
                f"{size / 2**20:.1f} MiB for an array of shape {list(shape)} cannot be had on {self.name} "
                f"({first_line(error)}): use a smaller batch, or end other work on this GPU"
            ) from error
        strides = packed_strides(shape, dtype)
        return DeviceArray(int(memory.handle), tuple(shape), dtype, strides, self.ordinal, owner=memory)

    def _device_buffer(self, array: DeviceArray) -> Any:
        return self._core.Buffer.from_handle(array.pointer, array.bytes, owner=array)

    def _staged(self, use: str, array: DeviceArray) -> Any:
        """Pinned host memory of the array's size, one for each direction."""
        key = use, array.bytes
        if key not in self._staging:
            self._staging[key] = self._core.LegacyPinnedMemoryResource().allocate(array.bytes)
        return self._staging[key]


def _host_view(staging: Any, size: int) -> npt.NDArray[np.uint8]:
    """Pinned memory as NumPy sees it. By address: through DLPack, NumPy before 2.1 takes it read-only."""
    return np.frombuffer(memoryview((ctypes.c_uint8 * size).from_address(int(staging.handle))), np.uint8)
