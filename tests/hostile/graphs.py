"""Hostile graphs: each kind is a function that takes a sound model and a random generator and returns a file."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Random = np.random.Generator


def varint(value: int, least: int = 1) -> bytes:
    """A protobuf number, of at least so many bytes."""
    out = bytearray()
    while value > 0x7F or len(out) + 1 < least:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def key_of_33_bits(model: onnx.ModelProto, random: Random) -> bytes:
    """Runtimes drop bit 32 and see an external tensor, an operator, or a second graph."""
    node = helper.make_node("RandomNormal", [], ["hidden"], shape=[1]).SerializeToString()
    number, payload = [(7, message(1, node)), (5, b""), (25, b"f")][random.integers(3)]
    key = varint((number << 3 | 2) | 1 << int(random.integers(32, 35)))
    return bytes(model.SerializeToString()) + key + varint(len(payload)) + payload


def hidden_external_data(model: onnx.ModelProto, random: Random) -> bytes:
    tensor = model.graph.initializer[int(random.integers(len(model.graph.initializer)))]
    location = message(13, message(1, b"location") + message(2, b"/etc/hostname"))
    hidden = varint((13 << 3 | 2) | 1 << 32) + location[1:] + varint((14 << 3) | 1 << 32) + b"\1"
    changed = tensor.SerializeToString() + hidden
    del model.graph.initializer[list(model.graph.initializer).index(tensor)]
    graph = model.graph.SerializeToString() + message(5, changed)
    model.ClearField("graph")
    return bytes(model.SerializeToString()) + message(7, graph)


def long_key(model: onnx.ModelProto, random: Random) -> bytes:
    return bytes(model.SerializeToString()) + varint(3 << 3 | 2, int(random.integers(6, 10))) + b"\1x"


def unknown_field(model: onnx.ModelProto, random: Random) -> bytes:
    number = [0, 9, 15, 20, 25, 26, 99, 2**20][random.integers(8)]
    return bytes(model.SerializeToString()) + message(number, b"\0" * int(random.integers(9)))


def second_graph(model: onnx.ModelProto, random: Random) -> bytes:
    extra = helper.make_graph([helper.make_node("Identity", ["z0"], [f"x{random.integers(99)}"])], "g", [], [])
    return bytes(model.SerializeToString()) + message(7, extra.SerializeToString())


def forbidden_operator(model: onnx.ModelProto, random: Random) -> bytes:
    body = helper.make_graph([], "body", [], [])
    nodes = [
        helper.make_node("RandomNormalLike", [_input(model)], ["evil"]),
        helper.make_node("If", ["z"], ["evil"], then_branch=body, else_branch=body),
        helper.make_node("Loop", ["", "z"], ["evil"], body=body),
        helper.make_node("Scan", ["z"], ["evil"], body=body, num_scan_inputs=1),
        helper.make_node("Relu", [_input(model)], ["evil"], domain="com.microsoft"),
        helper.make_node("NonZero", [_input(model)], ["evil"]),
        helper.make_node("SequenceEmpty", [], ["evil"]),
        helper.make_node("Dropout", [_input(model), "", "z"], ["evil"]),
        helper.make_node("EyeLike", [_input(model)], ["evil"]),
        helper.make_node("MadeUp", [_input(model)], ["evil"]),
        helper.make_node("\x1b[31mEvil\n", [_input(model)], ["evil"]),
    ]
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "z"))
    model.graph.node.insert(0, nodes[random.integers(len(nodes))])
    return bytes(model.SerializeToString())


def too_large(model: onnx.ModelProto, random: Random) -> bytes:
    """Small files, large tensors."""
    shape = [int(random.integers(2**15, 2**20))] * 2
    node, length = helper.make_node, 2 ** int(random.integers(15, 18))
    constants = {
        "x_one": np.ones((1, 1), np.float32),
        "x_shape": np.array(shape, np.int64),
        "x_column": np.ones((length, 1), np.float32),
        "x_row": np.ones((1, length), np.float32),
        "x_zero": np.array(0),
        "x_many": np.array(2**40),
        "x_step": np.array(1),
        "x_scales": np.full(2, 2.0**16, np.float32),
        "x_pads": np.array([0, 0, *shape]),
        "x_image": np.ones((1, 1, 8, 8), np.float32),
        "x_kernel": np.ones((4096, 1, 1, 1), np.float32),
        "x_zeros": np.zeros(2**16, np.int64),
        "x_wide": np.ones((1, 2**14), np.float32),
    }
    doubled = ["x_row", *(f"x_d{index}" for index in range(10))]
    added = ["x_row", *(f"x_a{index}" for index in range(4500))]
    chains = [
        [node("ConstantOfShape", ["x_shape"], ["evil"])],
        [node("Expand", ["x_one", "x_shape"], ["evil"])],
        [node("Tile", ["x_one", "x_shape"], ["evil"])],
        [node("Range", ["x_zero", "x_many", "x_step"], ["evil"])],
        [node("MatMul", ["x_column", "x_row"], ["evil"])],
        [node("Gemm", ["x_column", "x_row"], ["evil"])],
        [node("Add", ["x_column", "x_row"], ["evil"])],
        [node("Resize", ["x_one", "", "x_scales"], ["evil"])],
        [node("Pad", ["x_one", "x_pads"], ["evil"])],
        [node("Gather", ["x_wide", "x_zeros"], ["evil"], axis=0)],
        [node("Conv", ["x_image", "x_kernel"], ["evil"], pads=[2000, 2000, 2000, 2000])],
        [node("Concat", [before] * 8, [after], axis=1) for before, after in pairwise(doubled)],
        [node("Add", [before, before], [after]) for before, after in pairwise(added)],
    ]
    for name, values in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    for index, made in enumerate(chains[random.integers(len(chains))]):
        model.graph.node.insert(index, made)
    return bytes(model.SerializeToString())


def outside(model: onnx.ModelProto, random: Random) -> bytes:
    tensor = model.graph.initializer[int(random.integers(len(model.graph.initializer)))]
    places = ["/etc/passwd", "../secret", "beside", "a/../../b", "*/_ORT_MEM_ADDR_/*"]
    onnx.external_data_helper.set_external_data(tensor, places[random.integers(len(places))])
    if random.integers(2):
        model.graph.node.insert(0, helper.make_node("Constant", [], ["evil"], value=tensor))
    return bytes(model.SerializeToString())


def sparse(model: onnx.ModelProto, random: Random) -> bytes:
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    indices = numpy_helper.from_array(np.array([int(random.integers(99))]), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2**40]))
    return bytes(model.SerializeToString())


def function(model: onnx.ModelProto, random: Random) -> bytes:
    opset = helper.make_opsetid("", 20)
    name = f"f{random.integers(9)}"
    node = helper.make_node("Bernoulli", ["x"], ["y"])
    model.functions.append(helper.make_function("local", name, ["x"], ["y"], [node], [opset]))
    return bytes(model.SerializeToString())


def other_format(model: onnx.ModelProto, random: Random) -> bytes:
    """By these four bytes engines take a file for a FlatBuffer of theirs, and may find another graph in it."""
    model.ClearField("producer_name")
    version, model.ir_version = model.ir_version, 0
    model.ClearField("ir_version")
    mark = [b"ORTM", b"TFL3"][random.integers(2)]
    return varint(1 << 3) + varint(version) + message(2, mark) + bytes(model.SerializeToString())


def grown(model: onnx.ModelProto, random: Random) -> bytes:
    """An input that stands beside what an operator works on, and makes its output larger in some engines."""
    node = helper.make_node
    one = np.ones(1, np.float32)
    constants = {"x_one": one.reshape(1, 1, 1, 1), "x_many": np.ones(4096, np.float32), "x_pads": np.zeros(8, np.int64)}
    constants |= {"x_flat": one.reshape(1, 1), "x_axes": np.arange(4)}
    made = [
        node("Conv", ["x_one", "x_one", "x_many"], ["evil"]),
        node("Gemm", ["x_flat", "x_flat", "x_many"], ["evil"]),
        node("LayerNormalization", ["x_flat", "x_many"], ["evil"]),
        node("Clip", ["x_one", "x_many"], ["evil"]),
        node("Sigmoid", ["x_one", "x_many"], ["evil"]),
        node("Pad", ["x_one", "x_pads"], ["evil"], pads=[0, 0, 0, 0, 0, 0, 4096, 4096]),
        node("Squeeze", ["x_one", "x_axes"], ["evil"], axes=[0]),
    ]
    for name, values in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    model.graph.node.insert(0, made[random.integers(len(made))])
    return bytes(model.SerializeToString())


def two_of_a_name(model: onnx.ModelProto, random: Random) -> bytes:
    """A constant that stands for the input, an output twice, two versions of one set of operators."""
    choice = random.integers(3)
    if choice == 0:
        model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), _input(model)))
    elif choice == 1:
        model.graph.output.append(model.graph.output[0])
    else:
        model.opset_import.append(helper.make_opsetid(["", "ai.onnx"][random.integers(2)], int(random.integers(7, 17))))
    return bytes(model.SerializeToString())


def other_interface(model: onnx.ModelProto, random: Random) -> bytes:
    graph, choice = model.graph, random.integers(5)
    if choice == 0:
        graph.input[0].name = "elsewhere"
    elif choice == 1:
        graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    elif choice == 2:
        graph.input[0].type.tensor_type.shape.dim[1].dim_value += int(random.integers(1, 99))
    elif choice == 3:
        graph.output[0].name = "elsewhere"
    else:
        graph.input.append(helper.make_tensor_value_info("more", 1, [1]))
    return bytes(model.SerializeToString())


def not_finite(model: onnx.ModelProto, random: Random) -> bytes:
    floats = [tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT]
    tensor = floats[int(random.integers(len(floats)))]
    values = numpy_helper.to_array(tensor).copy()
    values.reshape(-1)[int(random.integers(values.size))] = [np.nan, np.inf, -np.inf][random.integers(3)]
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return bytes(model.SerializeToString())


def lying_shape(model: onnx.ModelProto, random: Random) -> bytes:
    tensor = model.graph.initializer[int(random.integers(len(model.graph.initializer)))]
    tensor.dims.append(int([0, 2, -1, 2**31, 2**62][random.integers(5)]))
    return bytes(model.SerializeToString())


def many_fields(model: onnx.ModelProto, random: Random) -> bytes:
    return bytes(model.SerializeToString()) + message(14, b"") * int(random.integers(500_001, 600_000))


def nested(model: onnx.ModelProto, random: Random) -> bytes:  # noqa: ARG001
    graph = b""
    for _ in range(int(random.integers(100, 2000))):
        graph = message(1, message(5, message(6, graph)))
    return message(7, graph)


def mutated(model: onnx.ModelProto, random: Random) -> bytes:
    data = bytearray(model.SerializeToString())
    for _ in range(int(random.integers(1, 6))):
        place = int(random.integers(len(data)))
        choice = random.integers(3)
        if choice == 0:
            data[place] ^= 1 << int(random.integers(8))
        elif choice == 1:
            del data[place : place + int(random.integers(1, 20))]
        else:
            data[place:place] = random.bytes(int(random.integers(1, 9)))
    return bytes(data)


def _input(model: onnx.ModelProto) -> str:
    return str(model.graph.input[0].name)


GRAPH_KINDS = (
    *(key_of_33_bits, hidden_external_data, long_key, unknown_field, second_graph, forbidden_operator),
    *(too_large, outside, sparse, function, other_interface, not_finite, lying_shape, many_fields, nested),
    *(other_format, grown, two_of_a_name),
)
HEAVY = (many_fields,)  # seldom, since each takes a second
