"""fp16 by types in the graph: layers with weights, and what lies between them, compute in float16 between casts.

Chosen by operator, and only among those listed here: normalisation, softmax, exponentials, logarithms and every
reduction stay float32, and so does all before the first and behind the last layer (see `onnx_graph`). Inputs and
outputs keep their types. Where a tensor comes near the ends of float16's range on real images, its producer and its
readers stay float32 as well. docs/decisions/0007-precisions.md says why this is our own code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from protoleak.arrays import Array
from protoleak.bundle.report import Stage
from protoleak.export.onnx_graph import (
    WEIGHTED_OPERATORS,
    backbone,
    downstream,
    element_types,
    prepared,
    upstream,
    weighted_layers,
)

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

# A factor of 8 below 65504 for images that are larger than those measured.
LARGEST_SAFE = 8192.0
# Below 6e-5 float16 has ever fewer bits: a tensor needs that much room below its largest value.
SMALLEST_SAFE = 2.0**-9
ARITHMETIC = frozenset(
    {
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Relu",
        "LeakyRelu",
        "PRelu",
        "Clip",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Erf",
        "Gelu",
        "Min",
        "Max",
        "Where",
    }
)
MOVEMENT = frozenset(
    {
        "Identity",
        "MaxPool",
        "Reshape",
        "Transpose",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Concat",
        "Split",
        "Slice",
        "Gather",
        "Expand",
        "DepthToSpace",
        "SpaceToDepth",
    }
)
NORMALISATION = frozenset({"InstanceNormalization", "GroupNormalization", "LayerNormalization", "BatchNormalization"})
# What the exporter writes behind a normalisation, and belongs to it. A transpose there must be float32 for another
# reason too: of Transpose, Cast, MatMul in this order, ONNX Runtime 1.24 to 1.32 makes a fused node that crashes the
# process while the graph is loaded (onnxruntime#28392).
AFFINE = frozenset({"Reshape", "Transpose", "Mul", "Add"})
LARGEST = "/largest"  # no exported tensor ends in this
TYPE_BLIND = frozenset({"Shape", "Size"})  # their result doesn't depend on the element type


@dataclass(frozen=True)
class Float16Graph:
    """A graph partly in float16.

    Attributes:
        model: serialised.
        layers: labels of the layers that compute in float16.
        out_of_range: labels of those that stay float32 because their numbers are too large or too small.
    """

    model: bytes
    layers: tuple[str, ...]
    out_of_range: tuple[str, ...]


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


def to_float16(model: bytes, stage: Stage, largest: Mapping[str, float]) -> Float16Graph:
    """Types the graph.

    Args:
        model: fp32, serialised.
        largest: from `largest_magnitudes` on real images, of the same model.

    Raises:
        CheckpointError: the graph has control flow, or its backbone cannot be found.
    """
    proto = prepared(model)
    graph = proto.graph
    labels = weighted_layers(graph, stage)
    misfits = {name for name, value in largest.items() if value and not SMALLEST_SAFE < value < LARGEST_SAFE}
    misfits |= _huge_constants(graph)
    outside = {node.name for node in graph.node if misfits.intersection((*node.input, *node.output))}
    half = _half_nodes(graph, stage, labels) - outside
    _insert_types(proto, half)
    return Float16Graph(
        bytes(proto.SerializeToString()),
        tuple(label for label, name in labels.items() if name in half),
        tuple(label for label, name in labels.items() if name in outside),
    )


def _half_nodes(graph: GraphProto, stage: Stage, labels: Mapping[str, str]) -> set[str]:
    """Nodes that may be float16: the layers, and listed operators that lie between two layers."""
    layers = [node for node in graph.node if node.name in set(labels.values())]
    between = upstream(graph, layers) & downstream(graph, layers)
    if stage == "attributor":
        between &= backbone(graph)
    normalising = _normalising(graph)
    return {
        node.name
        for node in graph.node
        if node.name in between
        and not node.domain
        and (
            node.op_type in WEIGHTED_OPERATORS
            or (node.op_type in ARITHMETIC | MOVEMENT and node.name not in normalising)
        )
    }


def _normalising(graph: GraphProto) -> set[str]:
    """Normalisations, with the reshapes, scales and offsets by constants that the exporter writes behind them."""
    constants = {tensor.name for tensor in graph.initializer}
    shapes = {output for node in graph.node if node.op_type in ("Shape", "Concat", "Slice") for output in node.output}
    names: set[str] = set()
    tensors: set[str] = set()
    for node in graph.node:
        moving = [name for name in node.input if name not in constants and name not in shapes]
        affine = node.op_type in AFFINE and len(moving) == 1 and moving[0] in tensors
        if node.op_type in NORMALISATION or affine:
            names.add(node.name)
            tensors.update(node.output)
    return names


def _huge_constants(graph: GraphProto) -> set[str]:
    from onnx import TensorProto, numpy_helper

    return {
        tensor.name
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT
        and not np.abs(numpy_helper.to_array(tensor)).max(initial=0.0) < np.finfo(np.float16).max
    }


def _insert_types(proto: ModelProto, half: set[str]) -> None:
    """Makes these nodes read and write float16, with one cast per tensor that crosses over."""
    from onnx import TensorProto, helper, numpy_helper

    graph = proto.graph
    types = element_types(graph)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    written = {output for node in graph.node if node.name in half for output in node.output}
    written = {name for name in written if types.get(name) == TensorProto.FLOAT}
    as_half = {name: f"{name}/fp16" if name in outputs else name for name in written}
    as_float: dict[str, str] = {}
    nodes: list[NodeProto] = []

    def cast(source: str, target: str, to: int) -> str:
        nodes.append(helper.make_node("Cast", [source], [target], name=f"cast/{target}", to=to))
        return target

    def half_input(name: str) -> str:
        if name in as_half or types.get(name) != TensorProto.FLOAT:
            return as_half.get(name, name)
        as_half[name] = f"{name}/fp16"
        if name not in constants:
            return cast(name, as_half[name], TensorProto.FLOAT16)
        values = numpy_helper.to_array(constants[name]).astype(np.float16)
        graph.initializer.append(numpy_helper.from_array(values, as_half[name]))
        return as_half[name]

    def float_input(name: str) -> str:
        if name not in written:
            return name
        if name not in as_float:
            as_float[name] = name if name in outputs else f"{name}/fp32"
            cast(as_half[name], as_float[name], TensorProto.FLOAT)
        return as_float[name]

    for node in graph.node:
        if node.name in half:
            node.input[:] = [half_input(name) for name in node.input]
            node.output[:] = [as_half.get(name, name) for name in node.output]
        elif node.op_type in TYPE_BLIND:
            node.input[:] = [as_half.get(name, name) if name in written else name for name in node.input]
        else:
            node.input[:] = [float_input(name) for name in node.input]
        nodes.append(node)
    for name in outputs:
        float_input(name)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
