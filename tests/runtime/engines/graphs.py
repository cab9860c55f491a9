"""One small convolution network, x float32 [N, 8, 16, 16] → y, in each precision as the exporter writes them."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from protoleak.runtime.engines import Graph

SHAPE = (8, 16, 16)
CHANNELS = 16


def network(precision: str) -> Graph:
    """A convolution, a ReLU, another convolution and a mean over the plane, in fp32, fp16 or int8 (Q/DQ)."""
    generator = np.random.default_rng(5)
    weights = [
        generator.standard_normal((CHANNELS, channels, 3, 3)).astype(np.float32) / 12
        for channels in (SHAPE[0], CHANNELS)
    ]
    make = {"fp32": _plain, "fp16": _half, "int8": _quantised}[precision]
    nodes, tensors = make(weights)
    body = helper.make_graph(
        nodes,
        precision,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *SHAPE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", CHANNELS, 1, 1])],
        tensors,
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return Graph("attributor", model.SerializeToString(), ("y",))


def images(count: int, seed: int = 0) -> np.ndarray:
    """float32 [count, 8, 16, 16]."""
    return np.random.default_rng(seed).standard_normal((count, *SHAPE)).astype(np.float32)


def _convolution(source: str, weight: str, result: str) -> object:
    return helper.make_node("Conv", [source, weight], [result], pads=[1, 1, 1, 1], name=f"conv_{result}")


def _plain(weights: list[np.ndarray]) -> tuple[list[object], list[object]]:
    nodes = [
        _convolution("x", "w0", "c0"),
        helper.make_node("Relu", ["c0"], ["r0"]),
        _convolution("r0", "w1", "c1"),
        helper.make_node("GlobalAveragePool", ["c1"], ["y"]),
    ]
    return nodes, [numpy_helper.from_array(values, f"w{index}") for index, values in enumerate(weights)]


def _half(weights: list[np.ndarray]) -> tuple[list[object], list[object]]:
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        _convolution("h", "w0", "c0"),
        helper.make_node("Relu", ["c0"], ["r0"]),
        _convolution("r0", "w1", "c1"),
        helper.make_node("Cast", ["c1"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("GlobalAveragePool", ["f"], ["y"]),
    ]
    return nodes, [numpy_helper.from_array(values.astype(np.float16), f"w{i}") for i, values in enumerate(weights)]


def _quantised(weights: list[np.ndarray]) -> tuple[list[object], list[object]]:
    tensors = [
        numpy_helper.from_array(np.float32(0.05), "scale"),
        numpy_helper.from_array(np.int8(0), "zero"),
    ]
    nodes = []
    for index, values in enumerate(weights):
        scale = np.abs(values).max(axis=(1, 2, 3)) / 127
        integers = np.clip(np.rint(values / scale[:, None, None, None]), -127, 127).astype(np.int8)
        tensors += [
            numpy_helper.from_array(integers, f"q{index}"),
            numpy_helper.from_array(scale.astype(np.float32), f"s{index}"),
            numpy_helper.from_array(np.zeros(len(scale), np.int8), f"z{index}"),
        ]
        nodes.append(
            helper.make_node("DequantizeLinear", [f"q{index}", f"s{index}", f"z{index}"], [f"w{index}"], axis=0)
        )
    for index, (source, result) in enumerate((("x", "c0"), ("r0", "c1"))):
        nodes += [
            helper.make_node("QuantizeLinear", [source, "scale", "zero"], [f"{source}_q"]),
            helper.make_node("DequantizeLinear", [f"{source}_q", "scale", "zero"], [f"{source}_d"]),
            _convolution(f"{source}_d", f"w{index}", result),
        ]
        if result == "c0":
            nodes.append(helper.make_node("Relu", ["c0"], ["r0"]))
    nodes.append(helper.make_node("GlobalAveragePool", ["c1"], ["y"]))
    return nodes, tensors
