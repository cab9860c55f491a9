"""Graphs with something in them that must not be there are found without the onnx package."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protoleak.bundle.graph_check import inspect_onnx, output_names

onnx = pytest.importorskip("onnx", reason="onnx makes the graphs that are inspected")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def model(*nodes: object, tensors: tuple[object, ...] = (), **rest: object) -> bytes:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph(list(nodes), "g", [value], [], list(tensors), **rest)
    return helper.make_model(graph).SerializeToString()


def test_sound_graph_has_no_problem() -> None:
    tensors = (numpy_helper.from_array(np.float32([1, 2]), "w"), numpy_helper.from_array(np.int64([3]), "shape"))
    assert inspect_onnx(model(helper.make_node("Add", ["x", "w"], ["y"]), tensors=tensors)).problems() == []


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weight_that_is_not_finite_is_named(dtype: type, value: float) -> None:
    tensor = numpy_helper.from_array(np.array([0, value], dtype=dtype), "weight_7")
    assert inspect_onnx(model(tensors=(tensor,))).non_finite_tensors == ["weight_7"]


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_weight_stored_in_typed_fields_is_looked_at_too(kind: int) -> None:
    tensor = helper.make_tensor("typed", kind, [2], [1.0, float("nan")], raw=False)
    assert not tensor.raw_data
    assert inspect_onnx(model(tensors=(tensor,))).non_finite_tensors == ["typed"]


def test_integers_are_never_taken_for_nan() -> None:
    tensor = numpy_helper.from_array(np.array([0x7FC00000, -1], dtype=np.int32), "bits_of_nan")
    assert inspect_onnx(model(tensors=(tensor,))).problems() == []


def test_constant_node_with_nan_is_found() -> None:
    tensor = numpy_helper.from_array(np.float32([np.nan]), "inside")
    assert inspect_onnx(model(helper.make_node("Constant", [], ["c"], value=tensor))).non_finite_tensors == ["inside"]


def test_sparse_weights_are_looked_at_too() -> None:
    values = numpy_helper.from_array(np.float32([np.inf]), "sparse_values")
    indices = numpy_helper.from_array(np.int64([0]), "sparse_indices")
    sparse = helper.make_sparse_tensor(values, indices, [4])
    assert inspect_onnx(model(sparse_initializer=[sparse])).non_finite_tensors == ["sparse_values"]


def test_weights_outside_the_file_are_named() -> None:
    tensor = numpy_helper.from_array(np.zeros(600, np.float32), "far_away")
    onnx.external_data_helper.set_external_data(tensor, "/etc/passwd")
    assert inspect_onnx(model(tensors=(tensor,))).external_tensors == ["far_away"]


@pytest.mark.parametrize(
    "operator", ["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"]
)
def test_random_operator_is_named(operator: str) -> None:
    assert inspect_onnx(model(helper.make_node(operator, ["x"], ["y"]))).random_operators == [operator]


def test_random_operator_inside_a_branch_is_found() -> None:
    branch = helper.make_graph([helper.make_node("RandomNormal", [], ["r"], shape=[1])], "branch", [], [])
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    assert inspect_onnx(model(node)).random_operators == ["RandomNormal", "RandomNormal"]


def test_random_operator_inside_a_function_is_found() -> None:
    opset = helper.make_opsetid("", 20)
    function = helper.make_function("local", "f", ["x"], ["y"], [helper.make_node("Bernoulli", ["x"], ["y"])], [opset])
    graph = helper.make_graph([], "g", [], [])
    whole = helper.make_model(graph, functions=[function], opset_imports=[opset])
    assert inspect_onnx(whole.SerializeToString()).random_operators == ["Bernoulli"]


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_arbitrary_bytes_give_a_value_error_or_findings(data: bytes) -> None:
    with contextlib.suppress(ValueError):  # anything else fails the test
        inspect_onnx(data)


@given(st.integers(1, 2**31), st.data())
@settings(max_examples=100, deadline=None)
def test_truncated_model_is_refused_or_still_judged(seed: int, data: st.DataObject) -> None:
    whole = model(helper.make_node("Relu", ["x"], ["y"]), tensors=(numpy_helper.from_array(np.float32([seed]), "w"),))
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with contextlib.suppress(ValueError):
        assert inspect_onnx(cut).problems() == []


def test_graphs_nested_beyond_reason_are_a_value_error() -> None:
    def field(number: int, payload: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(payload)) + payload

    def varint(value: int) -> bytes:
        out = bytearray()
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        return bytes([*out, value])

    graph = b""
    for _ in range(2000):
        graph = field(1, field(5, field(6, graph)))
    with pytest.raises(ValueError, match="nested"):
        inspect_onnx(field(7, graph))


def test_outputs_are_named_in_their_order() -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("second", "first", "größe")]
    graph = helper.make_graph([], "g", [], values)
    assert output_names(helper.make_model(graph).SerializeToString()) == ["second", "first", "größe"]


@pytest.mark.parametrize("data", [b"", b"GIF89a", model()])
def test_names_of_outputs_of_what_has_none_are_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="not an ONNX model"):
        output_names(data)
