"""Space-to-depth and the convolution behind it as one convolution."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from protoleak.export.patches import join_patches

SIDE = 24


def _graph(
    size: int, kernel: int, stride: int, pads: list[int], *, shared: bool = False, group: int = 1
) -> onnx.ModelProto:
    channels, patches = 3, SIDE // size
    random = np.random.default_rng(7)
    weight = random.normal(size=(6, channels * size**2 // group, kernel, kernel)).astype(np.float32)
    constants = {
        "split": np.array([-1, channels, patches, size, patches, size], np.int64),
        "merged": np.array([-1, channels * size**2, patches, patches], np.int64),
        "weight": weight,
        "bias": random.normal(size=6).astype(np.float32),
    }
    convolution = {"kernel_shape": [kernel, kernel], "strides": [stride, stride], "pads": pads, "group": group}
    nodes = [
        helper.make_node("Reshape", ["x", "split"], ["parts"]),
        helper.make_node("Transpose", ["parts"], ["turned"], perm=[0, 1, 3, 5, 2, 4]),
        helper.make_node("Reshape", ["turned", "merged"], ["patches"]),
        helper.make_node("Conv", ["patches", "weight", "bias"], ["y"], **convolution),
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "c", "h", "w"])
        for name in ("y", "patches")[: 1 + shared]
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", channels, SIDE, SIDE])]
    tensors = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "patches", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _run(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=(2, 3, SIDE, SIDE)).astype(np.float32)
    result: np.ndarray = session.run(["y"], {"x": x})[0]
    return result


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"),
    [(2, 3, 1, [1, 1, 1, 1]), (2, 3, 2, [1, 1, 1, 1]), (2, 1, 1, [0, 0, 0, 0]), (4, 3, 1, [1, 0, 0, 1])],
)
def test_one_convolution_of_the_pixels_gives_what_the_convolution_of_the_patches_gave(
    size: int, kernel: int, stride: int, pads: list[int]
) -> None:
    model = _graph(size, kernel, stride, pads)
    expected = _run(model)
    assert join_patches(model.graph) == 1
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Conv"]
    assert {tensor.name for tensor in model.graph.initializer} == {"weight.of_pixels", "bias"}
    found = _run(model)
    assert found.shape == expected.shape
    # Sums of up to 432 float32 products in another order.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_patches_that_others_read_and_grouped_convolutions_are_left_alone() -> None:
    for model in (_graph(2, 3, 1, [1, 1, 1, 1], shared=True), _graph(2, 3, 1, [1, 1, 1, 1], group=3)):
        before = model.SerializeToString()
        assert join_patches(model.graph) == 0
        assert model.SerializeToString() == before
