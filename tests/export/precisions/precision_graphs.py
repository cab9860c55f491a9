"""Small graphs with what makes precision hard: normalisation, residual sums, softmax, a scale behind the last layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE, CHANNELS = 16, 8


def encoder(first_scale: float = 1.0, first_bias: float = 1.0) -> bytes:
    """image uint8 [N, 16, 16, 3] → z0 float32 [N, 4, 8, 8]: conv, group norm as exported, swish, residual
    block, conv. Scales of the first layer are taken back by the norm behind it."""
    random = np.random.default_rng(0)

    def weight(name: str, *shape: int, scale: float = 1.0) -> onnx.TensorProto:
        values = random.standard_normal(shape) * scale / np.sqrt(np.prod(shape[1:]))
        return numpy_helper.from_array(values.astype(np.float32), name)

    def constant(name: str, values: Any, dtype: Any = np.float32) -> onnx.TensorProto:
        return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)

    node, pads = helper.make_node, [1, 1, 1, 1]
    nodes = [
        node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        node("Div", ["planes", "half_range"], ["unit"]),
        node("Sub", ["unit", "one"], ["centred"]),
        node("Conv", ["centred", "in.weight", "in.bias"], ["c1"], pads=pads),
        node("Reshape", ["c1", "groups"], ["grouped"]),
        node("InstanceNormalization", ["grouped", "ones", "zeros"], ["normal"], epsilon=1e-20),
        node("Shape", ["c1"], ["c1_shape"]),
        node("Reshape", ["normal", "c1_shape"], ["ungrouped"]),
        node("Mul", ["ungrouped", "gamma"], ["scaled"]),
        node("Add", ["scaled", "beta"], ["affine"]),
        node("Sigmoid", ["affine"], ["sigmoid"]),
        node("Mul", ["affine", "sigmoid"], ["swish"]),
        node("Conv", ["swish", "block.weight", "block.bias"], ["c2"], pads=pads),
        node("Relu", ["c2"], ["r2"]),
        node("Add", ["swish", "r2"], ["sum"]),
        node("Conv", ["sum", "out.weight", "out.bias"], ["latent"], pads=pads, strides=[2, 2]),
        node("Mul", ["latent", "scaling"], ["z0"]),
    ]
    tensors = [
        weight("in.weight", CHANNELS, 3, 3, 3, scale=first_scale),
        weight("in.bias", CHANNELS, scale=first_bias),
        weight("block.weight", CHANNELS, CHANNELS, 3, 3),
        weight("block.bias", CHANNELS),
        weight("out.weight", 4, CHANNELS, 3, 3),
        weight("out.bias", 4),
        constant("half_range", 127.5),
        constant("one", 1.0),
        constant("groups", [0, 2, -1], np.int64),
        constant("ones", [1.0, 1.0]),
        constant("zeros", [0.0, 0.0]),
        constant("gamma", random.uniform(0.5, 1.5, (1, CHANNELS, 1, 1))),
        constant("beta", random.normal(0, 0.2, (1, CHANNELS, 1, 1))),
        constant("scaling", 0.18),
    ]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("z0", TensorProto.FLOAT, ["n", 4, SIZE // 2, SIZE // 2])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def make_images(count: int, seed: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """Smooth images, one at a time, as the encoder takes them."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE
    for _ in range(count):
        a, b, c = random.uniform(0, 1, (3, 3))
        image = 127 + 90 * np.sin(6 * (a * rows[..., None] + b * columns[..., None]) + 6 * c)
        yield {"image": (image + random.normal(0, 6, image.shape)).clip(0, 255).astype(np.uint8)[None]}


def run(model: bytes, feeds: Iterator[dict[str, np.ndarray]]) -> list[np.ndarray]:
    """All outputs, each over all feeds."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [np.concatenate(parts) for parts in zip(*(session.run(None, feed) for feed in feeds), strict=True)]


def signal_to_noise(found: np.ndarray, expected: np.ndarray) -> float:
    """In dB."""
    noise = np.square(found.astype(np.float64) - expected).mean()
    return float(10 * np.log10(np.square(expected.astype(np.float64)).mean() / max(noise, 1e-300)))


def input_types(model: bytes) -> dict[str, list[set[int]]]:
    """Per operator, the element types of each node's floating-point inputs. Checks the model fully on the way."""
    from protoleak.export.onnx_graph import element_types

    proto = onnx.load_from_string(model)
    onnx.checker.check_model(proto, full_check=True)
    types = element_types(onnx.shape_inference.infer_shapes(proto, strict_mode=True).graph)
    floating = {TensorProto.FLOAT, TensorProto.FLOAT16}
    found: dict[str, list[set[int]]] = {}
    for node in proto.graph.node:
        found.setdefault(node.op_type, []).append({types[name] for name in node.input if name} & floating)
    return found
