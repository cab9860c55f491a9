"""How large a graph's tensors become on real images: what decides where 16 bits would overflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from protoleak.arrays import Array
from protoleak.export.onnx_graph import element_types

if TYPE_CHECKING:
    from onnx import ModelProto

LARGEST = "/largest"  # no exported tensor ends in this


def largest_magnitudes(model: ModelProto, feeds: Iterable[Mapping[str, Array]]) -> dict[str, float]:
    """The largest absolute value of every float32 tensor over some runs; infinite where a NaN appears.

    Only one number per tensor leaves each run, so that it takes no more memory than the graph itself.

    Args:
        model: from `onnx_graph.prepared`. It is not changed.
        feeds: inputs of one run each.
    """
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    measuring = onnx.ModelProto()
    measuring.CopyFrom(model)
    graph = measuring.graph
    types = element_types(graph)
    produced = [value.name for value in graph.input] + [name for node in graph.node for name in node.output]
    tensors = [name for name in produced if types.get(name) == TensorProto.FLOAT]
    for name in tensors:
        graph.node.append(helper.make_node("Abs", [name], [f"{name}/magnitude"]))
        graph.node.append(helper.make_node("ReduceMax", [f"{name}/magnitude"], [f"{name}{LARGEST}"], keepdims=0))
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(f"{name}{LARGEST}", TensorProto.FLOAT, []) for name in tensors)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(measuring.SerializeToString(), options, providers=["CPUExecutionProvider"])
    largest = np.zeros(len(tensors))
    for feed in feeds:
        found = np.array(session.run(None, dict(feed)), dtype=np.float64)
        largest = np.maximum(largest, np.where(np.isnan(found), np.inf, found))
    return dict(zip(tensors, largest.tolist(), strict=True))
