"""TensorRT's runtime played on the processor, since the real one needs a GPU.

"Device memory" is host memory, and a plan is run by ONNX Runtime. Only names that the real classes have can be called.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import tensorrt_rtx as trt

from protoleak.runtime.cuda.arrays import DeviceArray, packed_strides
from protoleak.runtime.engines import Graph

TYPES = {"tensor(float)": trt.DataType.FLOAT, "tensor(uint8)": trt.DataType.UINT8}
SHAPES = {"uint8": np.uint8, "float32": np.float32}


class PlayedWorker:
    """A CudaWorker's interface on host memory."""

    def __init__(self) -> None:
        self.stream = SimpleNamespace(handle=17)
        self.made: dict[tuple[str, tuple[int, ...], np.dtype[Any]], tuple[DeviceArray, np.ndarray]] = {}

    def buffer(self, name: str, shape: Sequence[int], dtype: Any) -> DeviceArray:
        key = name, tuple(shape), np.dtype(dtype)
        if key not in self.made:
            memory = np.zeros(key[1], key[2])
            array = DeviceArray(memory.ctypes.data, key[1], key[2], packed_strides(*key[1:]), 0, owner=memory)
            self.made[key] = array, memory
        return self.made[key][0]

    def write(self, array: DeviceArray, values: np.ndarray) -> None:
        view_of(array)[...] = values

    def read(self, array: DeviceArray) -> np.ndarray:
        return view_of(array).copy()


def view_of(array: DeviceArray) -> np.ndarray:
    raw = (ctypes.c_uint8 * array.bytes).from_address(array.pointer)
    return np.frombuffer(raw, np.uint8).view(array.dtype).reshape(array.shape)


class _Strict:
    """Refuses to play what the real class doesn't have."""

    real: type

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name != "real":
            assert hasattr(object.__getattribute__(self, "real"), name), f"{name} is not in TensorRT's interface"
        return object.__getattribute__(self, name)


class PlayedContext(_Strict):
    real = trt.IExecutionContext

    def __init__(self, session: Any, fails: bool) -> None:
        self._session, self._fails = session, fails
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self._shapes:
            return self._shapes[name]
        shape = next(item.shape for item in self._session.get_outputs() if item.name == name)
        return (next(iter(self._shapes.values()))[0], *shape[1:])

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle == 17
        if self._fails:
            return False

        def at(name: str, kind: str) -> np.ndarray:
            shape, dtype = self.get_tensor_shape(name), np.dtype(trt.nptype(TYPES[kind]))
            return view_of(DeviceArray(self._addresses[name], shape, dtype, packed_strides(shape, dtype)))

        feeds = {item.name: at(item.name, item.type) for item in self._session.get_inputs()}
        names = [item.name for item in self._session.get_outputs()]
        for item, values in zip(self._session.get_outputs(), self._session.run(names, feeds), strict=True):
            at(item.name, item.type)[...] = values
        return True


class PlayedEngine(_Strict):
    real = trt.ICudaEngine

    def __init__(self, graph: Graph, batch_maximum: int, out_of_memory: bool, fails: bool) -> None:
        self._session = onnxruntime.InferenceSession(graph.model, providers=["CPUExecutionProvider"])
        self._tensors = [*self._session.get_inputs(), *self._session.get_outputs()]
        self._batch_maximum, self._out_of_memory, self._fails = batch_maximum, out_of_memory, fails
        self.num_io_tensors = len(self._tensors)

    def _tensor(self, name: str) -> Any:
        return next(item for item in self._tensors if item.name == name)

    def get_tensor_name(self, index: int) -> str:
        return str(self._tensors[index].name)

    def get_tensor_mode(self, name: str) -> Any:
        inputs = [item.name for item in self._session.get_inputs()]
        return trt.TensorIOMode.INPUT if name in inputs else trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return TYPES[self._tensor(name).type]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, *self._tensor(name).shape[1:])

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        assert profile_index == 0
        fixed = self._tensor(name).shape[1:]
        return [(1, *fixed), (1, *fixed), (self._batch_maximum, *fixed)]

    def create_execution_context(self) -> PlayedContext | None:
        return None if self._out_of_memory else PlayedContext(self._session, self._fails)

    def create_engine_inspector(self) -> Any:
        return SimpleNamespace(get_engine_information=lambda _: '{"Layers": []}')


class PlayedModule:
    """The real module with another Runtime."""

    def __init__(self, graph: Graph, batch_maximum: int, *, out_of_memory: bool = False, fails: bool = False) -> None:
        self.loaded: list[bytes] = []

        class Runtime(_Strict):
            real = trt.Runtime

            def __init__(runtime, log: Any) -> None:  # noqa: N805
                runtime._log = log

            def deserialize_cuda_engine(runtime, plan: bytes) -> PlayedEngine:  # noqa: N805
                self.loaded.append(plan)
                return PlayedEngine(graph, batch_maximum, out_of_memory, fails)

        self.Runtime = Runtime

    def __getattr__(self, name: str) -> Any:
        return getattr(trt, name)
