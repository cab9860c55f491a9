"""What every change of precision needs to know about an exported graph: its weighted layers, and the part they span.

Both graphs have a part where precision may be lowered, and parts where it may not. In the latent encoder it is all
between the first and the last weighted layer. In the attributor it is the backbone, up to its linear head: everything
behind decides on small differences (gate, prototypes, density), and costs next to nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from protoleak.bundle.manifest import Manifest
from protoleak.bundle.report import Stage
from protoleak.errors import CheckpointError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

WEIGHTED_OPERATORS = ("Conv", "MatMul", "Gemm")
BACKBONE_HEAD = "attributor.backbone.encoder.head.weight"  # the name that `graphs.DeployedAttributor` gives it
# The projection of z0 in a stem above the noise, which `stems` names so: noising is float32 elsewhere too. The exporter
# writes the two as one where they are the same.
LOW_FREQUENCY = frozenset({"stem.left", "stem.right"})
SECOND_ORDER_LAYER = "attributor.backbone.encoder.heads.0.hidden.weight"
IR_VERSION = 10  # ONNX Runtime reads it from 1.18 on
INPUT_RANGE = (0, 255)  # of the uint8 image that the latent encoder takes


def prepared(model: bytes) -> ModelProto:
    """The model in the form that the steps of this package change: one import per operator set, a unique name for every
    node, constants among the initializers, types and shapes inferred, and shapes that are known constants too.

    Raises:
        CheckpointError: it has control flow, which no encoder here needs.
    """
    import onnx
    from onnx import numpy_helper

    proto = onnx.load_from_string(model)
    _import_each_domain_once(proto)
    proto.ir_version = min(proto.ir_version, IR_VERSION)
    graph = proto.graph
    nodes: list[NodeProto] = []
    for index, node in enumerate(graph.node):
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise CheckpointError(f"the graph has control flow ({node.op_type}): it can only be exported in fp32")
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            value = numpy_helper.to_array(node.attribute[0].t)
            graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
            continue
        node.name = node.name or f"{node.op_type}_{index}"
        nodes.append(node)
    if len({node.name for node in nodes}) < len(nodes):
        for index, node in enumerate(nodes):
            node.name = f"{node.name}_{index}"
    del graph.node[:]
    graph.node.extend(nodes)
    inferred = onnx.shape_inference.infer_shapes(proto)
    _write_known_shapes(inferred.graph)
    return inferred


def _write_known_shapes(graph: GraphProto) -> None:
    """Has every Reshape to another tensor's shape name that shape, where all of it but the batch is known.

    The exporter writes group normalisations so: reshape to groups, normalise, reshape to Shape(x). That Shape would be
    one more reader of x, and ONNX Runtime gives every reader of an int8 tensor a DequantizeLinear of its own and then
    takes the layer that made x for none of its int8 kernels.
    """
    import numpy as np
    from onnx import numpy_helper

    lengths = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input)
        if value.type.tensor_type.HasField("shape")
    }
    kept: list[NodeProto] = []
    for node in graph.node:
        whole = node.op_type == "Shape" and all((each.name, each.i) == ("start", 0) for each in node.attribute)
        known = lengths.get(node.input[0], []) if whole else []
        readers = [reader for reader in graph.node if known and node.output[0] in reader.input]
        if known and all(known[1:]) and all(reader.op_type == "Reshape" for reader in readers):
            shape = np.array([-1, *known[1:]], dtype=np.int64)
            graph.initializer.append(numpy_helper.from_array(shape, node.output[0]))
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def graph_metadata(manifest: Manifest) -> dict[str, str]:
    """What an exported graph says of itself, for whoever finds it without its bundle.

    "bundle" is its name; "generators", "timesteps" and "input_range" (of the image's RGB values) are JSON.
    """
    return {
        "bundle": manifest.name,
        "generators": json.dumps(manifest.generators, ensure_ascii=False),
        "timesteps": json.dumps(manifest.timesteps),
        "input_range": json.dumps(INPUT_RANGE),
    }


def with_metadata(model: bytes, metadata: Mapping[str, str]) -> bytes:
    """The model with this metadata in place of any that it has, and one import per operator set."""
    import onnx
    from onnx import helper

    proto = onnx.load_from_string(model)
    _import_each_domain_once(proto)
    helper.set_model_props(proto, dict(metadata))
    return bytes(proto.SerializeToString())


def _import_each_domain_once(proto: ModelProto) -> None:
    """Keeps the highest version of every operator set, of which "ai.onnx" is the default one by another name."""
    from onnx import helper

    versions: dict[str, int] = {}
    for entry in proto.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        versions[domain] = max(entry.version, versions.get(domain, 0))
    del proto.opset_import[:]
    proto.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in versions.items())


def weighted_layers(graph: GraphProto, stage: Stage) -> dict[str, str]:
    """The layers with constant weights in the part whose precision may be lowered: label → name of the node.

    Labels are the names of modules where the graph still knows them, else of nodes.

    Raises:
        CheckpointError: an attributor without the backbone's head.
    """
    part = None if stage == "latent_encoder" else backbone(graph)
    constants = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    layers: dict[str, str] = {}
    for node in graph.node:
        if node.op_type not in WEIGHTED_OPERATORS or (part is not None and node.name not in part):
            continue
        weight = node.input[1]
        if constants.get(weight, 0) < 2 or weight in LOW_FREQUENCY:
            continue  # the first are products of two activations
        label = weight.removesuffix(".weight").replace("/", ".") if weight.endswith(".weight") else node.name
        layers[label if label not in layers else node.name] = node.name
    return layers


def backbone(graph: GraphProto) -> set[str]:
    """Names of the attributor's nodes before the backbone's linear head.

    None of `second_order`: its statistics are differences of sums that lower precision loses, and its layers are small.
    """
    if any(SECOND_ORDER_LAYER in node.input for node in graph.node):
        return set()
    heads = [node for node in graph.node if BACKBONE_HEAD in node.input]
    if not heads:
        raise CheckpointError(
            f"the attributor has no {BACKBONE_HEAD}, so it isn't known where its backbone ends: export it in fp32"
        )
    return upstream(graph, heads[:1]) - {heads[0].name}


def upstream(graph: GraphProto, of: Iterable[NodeProto]) -> set[str]:
    """Names of these nodes and of all that they depend on."""
    producer = {output: node for node in graph.node for output in node.output}
    found: dict[str, NodeProto] = {}
    waiting = list(of)
    while waiting:
        node = waiting.pop()
        if node.name in found:
            continue
        found[node.name] = node
        waiting += [producer[name] for name in node.input if name in producer]
    return set(found)


def downstream(graph: GraphProto, of: Iterable[NodeProto]) -> set[str]:
    """Names of these nodes and of all that depend on them."""
    found = {node.name for node in of}
    reached = {output for node in graph.node if node.name in found for output in node.output}
    for node in graph.node:  # ONNX keeps nodes in topological order
        if node.name in found or reached.intersection(node.input):
            found.add(node.name)
            reached.update(node.output)
    return found


def element_types(graph: GraphProto) -> dict[str, int]:
    """ONNX element type of every tensor that is known: inputs, outputs, initializers, inferred values."""
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}
