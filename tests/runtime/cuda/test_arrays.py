"""Arrays on the GPU come in without a copy, and what can't be used is refused by name."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from protoleak.runtime.cuda.arrays import (
    DLPACK_CUDA,
    DLPACK_CUDA_MANAGED,
    DeviceArray,
    DeviceArrayError,
    device_array,
    expect,
    on_gpu,
)

Array = npt.NDArray[Any]
DEVICE_TYPE_OFFSET = 8  # of a DLTensor's device type, behind its data pointer


class FakeStream:
    """A stream of ours. Remembers whom it waited for."""

    handle = 4711

    def __init__(self) -> None:
        self.waited_for: list[int] = []

    def wait(self, other: Any) -> None:
        self.waited_for.append(other.__cuda_stream__()[1])


class InterfaceArray:
    """As pycuda and older CuPy give them: an interface on memory (here NumPy's, whose address stands for a GPU's)."""

    def __init__(self, values: Array, **changes: Any) -> None:
        self.values = values
        self.__cuda_array_interface__ = {
            "shape": values.shape,
            "typestr": values.dtype.str,
            "data": (values.ctypes.data, False),
            "strides": None if values.flags.c_contiguous else values.strides,
            "version": 3,
            **changes,
        }


class DlpackArray:
    """As PyTorch and CuPy give them. NumPy writes the capsule; its device is changed to a GPU's."""

    def __init__(self, values: Array, device: tuple[int, int] = (DLPACK_CUDA, 0)) -> None:
        self.values, self.device = values, device
        self.streams: list[int | None] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, *, stream: int | None = None, **_: Any) -> object:
        self.streams.append(stream)
        capsule = self.values.__dlpack__()
        pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
        pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        tensor = pointer_of(capsule, b"dltensor")
        (ctypes.c_int32 * 2).from_address(tensor + DEVICE_TYPE_OFFSET)[:] = self.device
        return capsule


def numbers(*shape: int, dtype: npt.DTypeLike = np.float32) -> Array:
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def test_what_is_on_a_gpu_is_told_from_what_is_not() -> None:
    values = numbers(2)
    assert on_gpu(InterfaceArray(values))
    assert on_gpu(DlpackArray(values))
    assert on_gpu(DlpackArray(values, (DLPACK_CUDA_MANAGED, 0)))
    assert on_gpu(device_array("z0", InterfaceArray(values)))
    for other in (values, DlpackArray(values, (1, 0)), [values], "face.jpg", b"", None):
        assert not on_gpu(other)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8, np.int32])
def test_an_array_interface_comes_in_by_its_address(dtype: npt.DTypeLike) -> None:
    values = numbers(2, 3, 4, dtype=dtype)
    array = device_array("z0", InterfaceArray(values))
    assert (array.pointer, array.shape, array.dtype) == (values.ctypes.data, (2, 3, 4), np.dtype(dtype))
    assert array.strides == values.strides
    assert array.contiguous


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8, np.int32])
@pytest.mark.parametrize("kind", [DLPACK_CUDA, DLPACK_CUDA_MANAGED])
def test_a_dlpack_array_comes_in_by_its_address(dtype: npt.DTypeLike, kind: int) -> None:
    pytest.importorskip("cuda.core", reason="cuda-core reads DLPack")
    values = numbers(2, 3, 4, dtype=dtype)
    array = device_array("z0", DlpackArray(values, (kind, 1)))
    assert (array.pointer, array.shape, array.dtype) == (values.ctypes.data, (2, 3, 4), np.dtype(dtype))
    assert array.strides == values.strides
    assert array.device == 1


def test_strides_are_kept_in_bytes_through_both_protocols() -> None:
    pytest.importorskip("cuda.core", reason="cuda-core reads DLPack")
    padded = numbers(4, 10, 3, dtype=np.uint8)[:, :7]
    for wrapped in (InterfaceArray(padded), DlpackArray(padded)):
        array = device_array("frame", wrapped)
        assert array.strides == (30, 3, 1)
        assert not array.contiguous


def test_a_dlpack_producer_is_told_our_stream_so_that_it_orders_itself_before_us() -> None:
    pytest.importorskip("cuda.core", reason="cuda-core reads DLPack")
    wrapped = DlpackArray(numbers(3))
    device_array("z0", wrapped, FakeStream())
    device_array("z0", wrapped)
    assert wrapped.streams == [FakeStream.handle, -1]  # -1: the caller has synchronised


@pytest.mark.parametrize(
    ("changes", "waited_for"),
    [
        ({"stream": 99}, [99]),
        ({"stream": None}, []),  # the protocol: nothing to wait for
        ({}, []),
        ({"stream": FakeStream.handle}, []),  # ours: in order already
        ({"version": 2}, [1]),  # says nothing of streams, so the default stream is waited for
    ],
)
def test_our_stream_waits_for_the_stream_that_the_interface_names(
    changes: dict[str, Any], waited_for: list[int]
) -> None:
    stream = FakeStream()
    device_array("z0", InterfaceArray(numbers(3), **changes), stream)
    assert stream.waited_for == waited_for


def test_an_array_that_speaks_both_protocols_comes_in_through_dlpack() -> None:
    """PyTorch's interface is of version 2, without its stream; its DLPack orders streams itself."""
    pytest.importorskip("cuda.core", reason="cuda-core reads DLPack")
    wrapped, stream = DlpackArray(numbers(3)), FakeStream()
    wrapped.__cuda_array_interface__ = InterfaceArray(numbers(5)).__cuda_array_interface__  # type: ignore[attr-defined]
    assert device_array("z0", wrapped, stream).shape == (3,)
    assert stream.waited_for == []


@pytest.mark.parametrize("wrapped", [numbers(3), DlpackArray(numbers(3), (3, 0))], ids=["numpy", "pinned memory"])
def test_an_array_on_the_cpu_is_refused(wrapped: object) -> None:
    with pytest.raises(DeviceArrayError, match="z0: this array is on the CPU"):
        device_array("z0", wrapped)


def test_a_device_that_is_not_cuda_is_refused() -> None:
    with pytest.raises(DeviceArrayError, match="DLPack device type 10, not on a CUDA device"):
        device_array("z0", DlpackArray(numbers(3), (10, 0)))


def test_what_speaks_no_protocol_is_refused_by_its_type() -> None:
    with pytest.raises(DeviceArrayError, match=r"z0 is a list, which offers neither"):
        device_array("z0", [1.0, 2.0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": object()}, "masked"),
        ({"stream": 0}, "stream 0"),
    ],
)
def test_an_interface_that_cannot_be_honoured_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DeviceArrayError, match=message):
        device_array("z0", InterfaceArray(numbers(3), **changes), FakeStream())


def test_an_incomplete_interface_is_refused_by_what_it_lacks() -> None:
    wrapped = InterfaceArray(numbers(3))
    del wrapped.__cuda_array_interface__["typestr"]
    with pytest.raises(DeviceArrayError, match="lacks typestr"):
        device_array("z0", wrapped)


def test_the_producer_is_kept_alive_as_long_as_its_array() -> None:
    wrapped = InterfaceArray(numbers(3))
    assert device_array("z0", wrapped).owner is wrapped


def made(pointer: int = 256, strides: tuple[int, ...] = (24, 4), **changes: Any) -> DeviceArray:
    return DeviceArray(pointer, (4, 6), np.dtype(np.float32), strides, **changes)


@pytest.mark.parametrize(
    ("array", "changes", "message"),
    [
        (made(), {"shape": (4, 5)}, r"z0 has the shape \[4, 6\]; expected \[4, 5\]"),
        (made(), {"shape": (None, 4, 6)}, r"z0 has the shape \[4, 6\]; expected \[any, 4, 6\]"),
        (made(), {"dtypes": (np.float16, np.uint8)}, "z0 is of float32; expected float16 or uint8"),
        (made(strides=(4, 16)), {}, r"z0 has strides of \[4, 16\] bytes"),
        (made(readonly=True), {"written": True}, "z0 is read-only"),
        (made(device=1), {"device": 0}, "z0 is on CUDA device 1; expected device 0"),
        (made(pointer=0), {}, "z0 has a null pointer for 96 bytes"),
        (made(pointer=258), {}, "z0 lies at 0x102, which is no address of a float32"),
    ],
)
def test_each_wrong_property_is_named(array: DeviceArray, changes: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"shape": (None, 6), "dtypes": (np.float32,), **changes}
    with pytest.raises(DeviceArrayError, match=message):
        expect("z0", array, **given)


def test_a_fitting_array_is_given_back() -> None:
    array = made(readonly=True, device=0)
    assert expect("z0", array, (None, 6), (np.float32,), device=0) is array


def test_an_axis_of_length_one_may_have_any_stride() -> None:
    """PyTorch and NumPy give such axes strides of their own."""
    assert DeviceArray(256, (1, 6), np.dtype(np.float32), (999, 4)).contiguous
