"""What OpenVINO would make of a graph, before it compiles it: the sizes of all tensors, held to what the check saw.

The check of a bundle follows shapes by rules of its own. A graph on which OpenVINO's rules and these differ, and be it
by one, can ask for any amount of memory there: sizes are computed from sizes.
"""

from __future__ import annotations

import math
from typing import Any

from protoleak.bundle.graph_sizes import LARGEST_TENSOR, MIB, follow
from protoleak.bundle.onnx_model import read_model
from protoleak.bundle.operators.base import Sized

DECOMPOSED = 8  # OpenVINO computes an operator in several of its own, in float32
SPARE = 16 * MIB


def excess(model: Any, graph: bytes) -> str | None:
    """What OpenVINO would make more than the check saw; None for a graph that both see alike.

    Args:
        model: as OpenVINO read it, for a batch of one.
        graph: the serialised ONNX model.
    """
    made = largest = 0
    for operator in model.get_ops():
        if operator.get_type_name() in ("Constant", "Parameter", "Result"):
            continue
        for port in operator.outputs():
            if port.partial_shape.is_dynamic:
                return f"a tensor of a size that depends on data ({operator.get_type_name()})"
            size = math.prod(port.shape) * max(1, port.element_type.bitwidth // 8)
            made, largest = made + size, max(largest, size)
    read = read_model(graph)
    inputs = {port.any_name: tuple(port.shape) for port in model.inputs}
    seen = follow(read, [Sized(one.element_type, inputs[one.name]) for one in read.inputs]).total
    if largest > LARGEST_TENSOR or made > DECOMPOSED * seen + SPARE:
        return f"{made} bytes of tensors, {largest} in one, where the file asks for {seen}"
    return None
