"""What TensorRT says of a graph's inputs and outputs, for the comparison with what the check of the bundle read."""

from __future__ import annotations

from typing import Any

from protoleak.bundle.onnx_model import BOOL, FLOAT, FLOAT16, INT8, INT64, UINT8, Declared
from protoleak.runtime.engines.base import Graph, check_same_graph
from protoleak.runtime.engines.tensorrt.library import Library

INT32 = 6  # of onnx.proto
ELEMENT_TYPES = {
    "FLOAT": FLOAT,
    "HALF": FLOAT16,
    "INT8": INT8,
    "INT32": INT32,
    "INT64": INT64,
    "UINT8": UINT8,
    "BOOL": BOOL,
}
OTHER = -1


def check_network(library: Library, graph: Graph, network: Any) -> None:
    """Compares what TensorRT's parser made of a graph, before anything is built from it.

    Raises:
        EngineError: see `check_same_graph`.
    """
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    ports = ([_declared(one.name, one.dtype, one.shape) for one in tensors] for tensors in (inputs, outputs))
    check_same_graph(graph, f"{library.name} {library.version}", *ports)


def check_plan(library: Library, graph: Graph, engine: Any) -> None:
    """Compares what a plan takes and gives: it comes from a cache on the disk, where it may lie under a wrong name.

    Args:
        engine: the plan, deserialised.

    Raises:
        EngineError: see `check_same_graph`.
    """
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    given = library.module.TensorIOMode.INPUT
    inputs = [name for name in names if engine.get_tensor_mode(name) == given]
    outputs = [name for name in names if name not in inputs]
    ports = (
        [_declared(name, engine.get_tensor_dtype(name), engine.get_tensor_shape(name)) for name in tensors]
        for tensors in (inputs, outputs)
    )
    check_same_graph(graph, f"{library.name} {library.version}", *ports)


def _declared(name: str, dtype: Any, shape: Any) -> Declared:
    """Axes of open length are -1 in TensorRT."""
    axes = tuple(length if isinstance(length, int) and length >= 0 else None for length in shape)
    return Declared(name, ELEMENT_TYPES.get(dtype.name, OTHER), axes)
