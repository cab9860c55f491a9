"""Graphs with something in them that must not be there are found without the onnx package."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protoleak.bundle.graph_check import Interface, check_graph, differences, inspect_onnx, output_names
from protoleak.bundle.graph_sizes import Port
from protoleak.bundle.onnx_model import Declared
from protoleak.bundle.operators.rules import RULES
from tests.paths import ROOT

onnx = pytest.importorskip("onnx", reason="onnx makes the graphs that are inspected")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from tests.hostile.graphs import message, varint  # noqa: E402


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


def test_constant_node_with_nan_among_plain_numbers_is_found() -> None:
    node = helper.make_node("Constant", [], ["c"], value_floats=[0.0, float("nan")])
    assert inspect_onnx(model(node)).non_finite_tensors == ["c"]


def test_sparse_weights_are_refused() -> None:
    values = numpy_helper.from_array(np.float32([1]), "sparse_values")
    indices = numpy_helper.from_array(np.int64([0]), "sparse_indices")
    sparse = helper.make_sparse_tensor(values, indices, [4])
    with pytest.raises(ValueError, match="field 15 of a GraphProto"):
        inspect_onnx(model(sparse_initializer=[sparse]))


def test_weights_outside_the_file_are_named() -> None:
    tensor = numpy_helper.from_array(np.zeros(600, np.float32), "far_away")
    onnx.external_data_helper.set_external_data(tensor, "/etc/passwd")
    assert inspect_onnx(model(tensors=(tensor,))).external_tensors == ["far_away"]


@pytest.mark.parametrize(
    "operator", ["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"]
)
def test_random_operator_is_named(operator: str) -> None:
    assert inspect_onnx(model(helper.make_node(operator, ["x"], ["y"]))).random_operators == [operator]


@pytest.mark.parametrize("operator", ["NonZero", "Einsum", "NoSuchOperator", "EyeLike"])
def test_operator_that_is_not_listed_is_named(operator: str) -> None:
    assert inspect_onnx(model(helper.make_node(operator, ["x"], ["y"]))).foreign_operators == [operator]


def test_operator_of_another_domain_is_not_the_listed_one() -> None:
    node = helper.make_node("Relu", ["x"], ["y"], domain="com.microsoft")
    assert inspect_onnx(model(node)).foreign_operators == ["com.microsoft.Relu"]


def test_control_flow_is_refused() -> None:
    branch = helper.make_graph([helper.make_node("Relu", ["x"], ["r"])], "branch", [], [])
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    with pytest.raises(ValueError, match="field 6 of a AttributeProto"):
        inspect_onnx(model(node))


def test_functions_are_refused() -> None:
    opset = helper.make_opsetid("", 20)
    function = helper.make_function("local", "f", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], [opset])
    graph = helper.make_graph([], "g", [], [])
    whole = helper.make_model(graph, functions=[function], opset_imports=[opset])
    with pytest.raises(ValueError, match="field 25 of a ModelProto"):
        inspect_onnx(whole.SerializeToString())


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (varint((13 << 3 | 2) | 1 << 32) + b"\0", "key of more than 32 bits"),  # runtimes drop the bit
        (varint(8 << 3 | 2, least=6) + b"\0", "more than 5 bytes"),
        (varint(20 << 3 | 2) + b"\0", "field 20 of a ModelProto"),
        (varint(7 << 3 | 2) + b"\0", "graph of a ModelProto twice"),  # runtimes merge the two
        (varint(7 << 3 | 3), "wire type 3"),  # a group
        (varint(1 << 3 | 2) + b"\0", "has wire type 2"),  # runtimes take it for an unknown field
        (varint(2 << 3 | 2) + b"\1\xff", "not UTF-8"),
        (b"\x72", "ends inside a number"),
    ],
)
def test_what_two_readers_could_understand_differently_is_refused(field: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        inspect_onnx(model() + field)


def test_element_type_that_only_fits_64_bits_is_refused() -> None:
    """Runtimes keep the lower 32 bits, which here say float."""
    tensor = message(1, b"\1") + varint(2 << 3) + varint(2**32 + 1) + message(9, b"\0\0\xc0\x7f")
    with pytest.raises(ValueError, match="does not fit 32 bits"):
        inspect_onnx(message(7, message(5, tensor)))


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


def test_nested_graphs_are_refused_at_the_first() -> None:
    graph = b""
    for _ in range(2000):
        graph = message(1, message(5, message(6, graph)))
    with pytest.raises(ValueError, match="field 6 of a AttributeProto"):
        inspect_onnx(message(7, graph))


def test_outputs_are_named_in_their_order() -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("second", "first", "größe")]
    graph = helper.make_graph([], "g", [], values)
    assert output_names(helper.make_model(graph).SerializeToString()) == ["second", "first", "größe"]


@pytest.mark.parametrize("data", [b"", b"GIF89a", model()])
def test_names_of_outputs_of_what_has_none_are_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="not an ONNX model"):
        output_names(data)


# What a graph must take and give, and how much it may.

IMAGE = (Port("x", TensorProto.FLOAT, (None, 3, 8, 8)),)
SAME = (Port("y", TensorProto.FLOAT, (None, 3, 8, 8)),)


def bundled(*nodes: object, constants: dict[str, np.ndarray] | None = None, shape: list[object] | None = None) -> bytes:
    """A graph with the input x."""
    tensors = [numpy_helper.from_array(values, name) for name, values in (constants or {}).items()]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape or ["n", 3, 8, 8])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(list(nodes), "g", [value], [output], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString()


def test_graph_that_is_as_expected_passes() -> None:
    check_graph(bundled(helper.make_node("Relu", ["x"], ["y"])), (IMAGE, SAME))


@pytest.mark.parametrize(
    ("nodes", "constants", "reason"),
    [
        ([("ConstantOfShape", ["s"], ["c"])], {"s": np.array([2**15, 2**15])}, "more than the"),
        ([("Expand", ["o", "s"], ["c"])], {"o": np.ones(1, "f4"), "s": np.array([2**15, 2**15])}, "more than the"),
        (
            [("MatMul", ["a", "b"], ["c"])],
            {"a": np.ones((2**15, 1), "f4"), "b": np.ones((1, 2**15), "f4")},
            "more than",
        ),
        ([("Add", ["a", "b"], ["c"])], {"a": np.ones((2**15, 1), "f4"), "b": np.ones((1, 2**15), "f4")}, "more than"),
        ([("Range", ["a", "b", "o"], ["c"])], {"a": np.array(0), "b": np.array(2**40), "o": np.array(1)}, "more than"),
        ([("Reshape", ["x", "x"], ["c"])], {}, "depends on data"),
        ([("Concat", ["x"] * 9, ["c"])], {}, "it gives"),
        ([("Relu", ["later"], ["c"])], {}, "nothing before it makes"),
    ],
)
def test_graph_that_takes_too_much_is_refused(
    nodes: list[tuple[str, list[str], list[str]]], constants: dict[str, np.ndarray], reason: str
) -> None:
    made = [helper.make_node(*node, **({"axis": 1} if node[0] == "Concat" else {})) for node in nodes]
    last = helper.make_node("Identity", ["c" if nodes[0][0] == "Concat" else "x"], ["y"])
    with pytest.raises(ValueError, match=reason):
        check_graph(bundled(*made, last, constants=constants), (IMAGE, SAME))


def test_graph_that_grows_faster_than_its_batch_is_refused() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "rows"], ["r"]),
        helper.make_node("Transpose", ["r"], ["t"]),
        helper.make_node("MatMul", ["r", "t"], ["product"]),
        helper.make_node("Relu", ["x"], ["y"]),
    ]
    with pytest.raises(ValueError, match="faster than the batch"):
        check_graph(bundled(*nodes, constants={"rows": np.array([-1, 1])}), (IMAGE, SAME))


@pytest.mark.parametrize(
    ("interface", "reason"),
    [
        (((Port("image", TensorProto.FLOAT, (None, 3, 8, 8)),), SAME), "it takes x where image is given"),
        (((Port("x", TensorProto.UINT8, (None, 3, 8, 8)),), SAME), "it takes x as float32"),
        (((Port("x", TensorProto.FLOAT, (None, 3, 9, 9)),), SAME), r"\[N, 3, 9, 9\] is given"),
        ((IMAGE, (Port("z", TensorProto.FLOAT, (None, 3, 8, 8)),)), "no output z"),
        ((IMAGE, (Port("y", TensorProto.FLOAT, (None, 4, 8, 8)),)), r"\[N, 4, 8, 8\] is asked for"),
    ],
)
def test_graph_of_another_place_is_refused(interface: Interface, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_graph(bundled(helper.make_node("Relu", ["x"], ["y"])), interface)


def test_an_engine_that_sees_another_graph_is_found_out() -> None:
    graph = bundled(helper.make_node("Relu", ["x"], ["y"]))
    x, y = Declared("x", TensorProto.FLOAT, (None, 3, 8, 8)), Declared("y", TensorProto.FLOAT, (None, 3, 8, 8))
    assert differences(graph, [x], [y]) == []
    assert "inputs are hidden, x" in differences(graph, [x, Declared("hidden", 1, None)], [y])[0]
    assert "uint8" in differences(graph, [Declared("x", TensorProto.UINT8, None)], [y])[0]
    assert "[1, 3, 9, 8]" in differences(graph, [Declared("x", TensorProto.FLOAT, (1, 3, 9, 8))], [y])[0]


def test_documentation_lists_the_operators() -> None:
    listed = (ROOT / "docs" / "bundles.md").read_text().split("## Operators")[1].split("\n\n")[2]
    assert listed.replace("\n", " ").strip().split(", ") == sorted(RULES)
