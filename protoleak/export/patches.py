"""Pixels that enter a network as patches, and the convolution that takes them, as one convolution of the pixels.

A light encoder begins with space-to-depth: r×r pixels become the channels of one. The exporter writes that as a
transposition of six axes, which engines for processors run on one thread; in an int8 graph it is a tenth of the whole.
A k×k convolution behind it is the same as one of r·k×r·k pixels with r times the stride and padding: the same
products, one operator less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

UNSHUFFLED = [0, 1, 3, 5, 2, 4]  # [N, C, h, r, w, r] → [N, C, r, r, h, w]


def join_patches(graph: GraphProto) -> int:
    """Rewrites every such pair in place; returns how many there were."""
    return sum(_joined(graph, node) for node in [node for node in graph.node if node.op_type == "Conv"])


def _joined(graph: GraphProto, convolution: NodeProto) -> bool:
    from onnx import helper, numpy_helper

    made_by = {name: node for node in graph.node for name in node.output}
    readers: dict[str, int] = {}
    for name in [name for node in graph.node for name in node.input] + [output.name for output in graph.output]:
        readers[name] = readers.get(name, 0) + 1
    chain: list[NodeProto] = []
    name = convolution.input[0]
    for kind in ("Reshape", "Transpose", "Reshape"):
        node = made_by.get(name)
        if node is None or node.op_type != kind or readers[name] != 1:
            return False
        chain.insert(0, node)
        name = node.input[0]
    constants = {tensor.name: tensor for tensor in graph.initializer}
    if not {chain[0].input[1], chain[2].input[1], convolution.input[1]} <= constants.keys():
        return False
    split = numpy_helper.to_array(constants[chain[0].input[1]])
    attributes = {each.name: helper.get_attribute_value(each) for each in (*chain[1].attribute, *convolution.attribute)}
    if attributes["perm"] != UNSHUFFLED or len(split) != len(UNSHUFFLED) or split[3] != split[5]:
        return False
    weight = numpy_helper.to_array(constants[convolution.input[1]])
    channels, size = int(split[1]), int(split[3])
    merged = numpy_helper.to_array(constants[chain[2].input[1]])
    plain = attributes.get("group", 1) == 1 and set(attributes.get("dilations", [1])) == {1}
    explicit = attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
    if not (plain and explicit and list(merged[1:]) == [channels * size**2, split[2], split[4]]):
        return False
    count, _, height, width = weight.shape
    of_pixels = weight.reshape(count, channels, size, size, height, width).transpose(0, 1, 4, 2, 5, 3)
    of_pixels = np.ascontiguousarray(of_pixels.reshape(count, channels, height * size, width * size))
    wanted = f"{convolution.input[1]}.of_pixels"
    graph.initializer.append(numpy_helper.from_array(of_pixels, wanted))
    del convolution.attribute[:]
    settings = {
        "kernel_shape": list(of_pixels.shape[2:]),
        "strides": [size * stride for stride in attributes.get("strides", [1, 1])],
        "pads": [size * pad for pad in attributes.get("pads", [0, 0, 0, 0])],
    }
    convolution.attribute.extend(helper.make_attribute(key, value) for key, value in settings.items())
    unused = [convolution.input[1], chain[0].input[1], chain[2].input[1]]
    convolution.input[:] = [chain[0].input[0], wanted, *convolution.input[2:]]
    for node in chain:
        graph.node.remove(node)
    still_read = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name in unused and tensor.name not in still_read]:
        graph.initializer.remove(tensor)
    return True
