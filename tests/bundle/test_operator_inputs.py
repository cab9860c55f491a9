"""Further inputs of an operator don't make its output larger than its rule says, and numbers stand in one place."""

from __future__ import annotations

import numpy as np
import pytest

from protoleak.bundle.graph_sizes import follow
from protoleak.bundle.onnx_model import FLOAT, read_model
from protoleak.bundle.operators.base import Sized

onnx = pytest.importorskip("onnx", reason="onnx makes the graphs")
from onnx import helper, numpy_helper  # noqa: E402

Shape = tuple[int, ...]
Given = dict[str, object]


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def numbers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def output_shape(
    operator: str, given: list[np.ndarray | None], shape: Shape, opset: int = 20, **attributes: object
) -> Shape:
    """What the check believes of one operator that works on an input of this shape."""
    names = ["x", *("" if one is None else f"c{index}" for index, one in enumerate(given))]
    constants = [numpy_helper.from_array(one, f"c{index}") for index, one in enumerate(given) if one is not None]
    node = helper.make_node(operator, names, ["y"], **attributes)
    ports = [helper.make_tensor_value_info(name, 1, None) for name in "xy"]
    graph = helper.make_graph([node], "g", ports[:1], ports[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return follow(read_model(model.SerializeToString()), [Sized(FLOAT, shape)]).outputs["y"].shape


@pytest.mark.parametrize(
    ("operator", "given", "shape", "attributes"),
    [
        ("Conv", [ones(1, 3, 1, 1), ones(1000)], (1, 3, 4, 4), {}),
        ("Gemm", [ones(3, 1), ones(1000, 1)], (1, 3), {}),
        ("LayerNormalization", [ones(1000, 1)], (1, 1), {}),
        ("LayerNormalization", [ones(1000)], (4, 1), {}),
        ("InstanceNormalization", [ones(1000), ones(1000)], (1, 1, 4, 4), {}),
        ("BatchNormalization", [ones(1000)] * 4, (1, 1, 4, 4), {}),
        ("GroupNormalization", [ones(1000), ones(1000)], (1, 1, 4, 4), {"num_groups": 1}),
        ("Clip", [ones(1000)], (4, 1), {}),
        ("QuantizeLinear", [ones(1000), np.zeros(1000, np.uint8)], (4, 1), {}),
        ("Relu", [ones(1000)], (4, 1), {}),
        ("Add", [ones(1), ones(1000)], (4, 1), {}),
        ("Constant", [], (4,), {"value_float": 1.0}),
    ],
)
def test_an_input_that_engines_let_an_output_grow_by_is_refused(
    operator: str, given: list[np.ndarray | None], shape: Shape, attributes: Given
) -> None:
    with pytest.raises(ValueError, match=r"does not fit|inputs"):
        output_shape(operator, given, shape, **attributes)


@pytest.mark.parametrize(
    ("operator", "given", "opset", "attributes"),
    [
        ("Pad", [numbers(*[0] * 8)], 7, {"pads": [0, 0, 0, 0, 0, 0, 1000, 1000]}),
        ("Pad", [numbers(*[0] * 8)], 13, {"pads": [0, 0, 0, 0, 0, 0, 1000, 1000]}),
        ("Resize", [100 * ones(4), ones(4)], 10, {}),
        ("ReduceMean", [numbers(0, 1, 2, 3)], 13, {"axes": [1]}),
        ("ReduceMean", [], 18, {"axes": [1]}),
        ("ReduceSum", [numbers(0, 1, 2, 3)], 11, {"axes": [1]}),
        ("Unsqueeze", [numbers(0)], 11, {"axes": [1]}),
        ("Squeeze", [], 13, {"axes": [0]}),
        ("Slice", [numbers(0), numbers(1)], 9, {"starts": [0], "ends": [4], "axes": [3]}),
        ("Clip", [ones()], 7, {"min": 0.0}),
        ("Shape", [], 11, {"start": 1}),
        ("ReduceSum", [], 11, {"noop_with_empty_axes": 1}),
    ],
)
def test_numbers_in_the_place_of_another_opset_are_refused(
    operator: str, given: list[np.ndarray | None], opset: int, attributes: Given
) -> None:
    with pytest.raises(ValueError, match="opset"):
        output_shape(operator, given, (1, 1, 400, 400), opset, **attributes)


@pytest.mark.parametrize(
    ("operator", "given", "shape", "attributes", "expected"),
    [
        ("Conv", [ones(8, 3, 1, 1), ones(8)], (1, 3, 4, 4), {}, (1, 8, 4, 4)),
        ("Gemm", [ones(3, 5), ones(5)], (2, 3), {}, (2, 5)),
        ("Gemm", [ones(5, 3), ones(2, 1)], (2, 3), {"transB": 1}, (2, 5)),
        ("LayerNormalization", [ones(7), ones(7)], (2, 7), {}, (2, 7)),
        ("LayerNormalization", [ones(3, 7)], (2, 3, 7), {"axis": 1}, (2, 3, 7)),
        ("GroupNormalization", [ones(2), ones(2)], (1, 8, 4, 4), {"num_groups": 2}, (1, 8, 4, 4)),
        ("Clip", [None, ones()], (2, 3), {}, (2, 3)),
        ("QuantizeLinear", [ones(3), np.zeros(3, np.uint8)], (2, 3), {"axis": 1}, (2, 3)),
        ("ReduceMean", [numbers(1)], (2, 3), {"keepdims": 0}, (2,)),
    ],
)
def test_inputs_as_the_standard_has_them_are_taken(
    operator: str, given: list[np.ndarray | None], shape: Shape, attributes: Given, expected: Shape
) -> None:
    assert output_shape(operator, given, shape, **attributes) == expected


def test_a_window_of_which_engines_disagree_is_refused() -> None:
    options: Given = {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}
    assert output_shape("MaxPool", [], (1, 1, 5, 5), **options) == (1, 1, 3, 3)
    with pytest.raises(ValueError, match="padding alone"):
        output_shape("MaxPool", [], (1, 1, 5, 5), pads=[1, 1, 1, 1], **options)


def test_a_constant_of_the_name_of_an_input_is_refused() -> None:
    ports = [helper.make_tensor_value_info(name, 1, None) for name in "xy"]
    constant = numpy_helper.from_array(ones(1), "x")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ports[:1], ports[1:], [constant])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString()
    with pytest.raises(ValueError, match="name of an input"):
        follow(read_model(model), [Sized(FLOAT, (1, 400))])
