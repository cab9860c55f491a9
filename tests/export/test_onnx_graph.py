"""What every change of an exported graph begins and ends with."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from protoleak.export.onnx_graph import prepared, with_metadata


def model(*imports: tuple[str, int]) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "one operator",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid(*one) for one in imports], ir_version=10)
    helper.set_model_props(proto, {"path": "/home/somebody"})
    return bytes(proto.SerializeToString())


def imports_of(proto: onnx.ModelProto) -> list[tuple[str, int]]:
    return [(entry.domain, entry.version) for entry in proto.opset_import]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([("", 20)], [("", 20)]),
        ([("", 20), ("", 20)], [("", 20)]),
        ([("", 17), ("ai.onnx", 20)], [("", 20)]),
        ([("", 20), ("com.microsoft", 1), ("com.microsoft", 1)], [("", 20), ("com.microsoft", 1)]),
    ],
)
def test_each_operator_set_is_imported_once_in_its_highest_version(
    given: list[tuple[str, int]], expected: list[tuple[str, int]]
) -> None:
    assert imports_of(prepared(model(*given))) == expected
    assert imports_of(onnx.load_from_string(with_metadata(model(*given), {}))) == expected


def test_metadata_takes_the_place_of_all_that_was_there() -> None:
    found = onnx.load_from_string(with_metadata(model(("", 20)), {"bundle": "małe"})).metadata_props
    assert [(entry.key, entry.value) for entry in found] == [("bundle", "małe")]
