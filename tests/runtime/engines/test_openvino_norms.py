"""Group normalisation rewritten for OpenVINO computes what the exporter wrote."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("openvino", reason="OpenVINO is an extra")
pytest.importorskip("onnx", reason="onnx makes the graphs")
import onnx
import openvino
from onnx import TensorProto, helper, numpy_helper

from protoleak.runtime.engines import Graph, open_engine
from protoleak.runtime.engines.openvino_norms import spread_group_norms


def group_norm(groups: int, channels: int, side: int, seed: int) -> bytes:
    """Reshape, instance normalisation and reshape back, as PyTorch's exporter writes it at opset 20."""
    generator = np.random.default_rng(seed)
    constants = {
        "split": np.array([0, groups, -1]),
        "factor": generator.uniform(0.5, 2, groups).astype(np.float32),
        "offset": generator.standard_normal(groups).astype(np.float32),
        "weight": generator.uniform(0.5, 2, (channels, 1, 1)).astype(np.float32),
        "bias": generator.standard_normal((channels, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Reshape", ["x", "split"], ["grouped"]),
        helper.make_node("InstanceNormalization", ["grouped", "factor", "offset"], ["even"], epsilon=1e-6),
        helper.make_node("Shape", ["x"], ["whole"]),
        helper.make_node("Reshape", ["even", "whole"], ["back"]),
        helper.make_node("Mul", ["back", "weight"], ["weighted"]),
        helper.make_node("Add", ["weighted", "bias"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "norm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", channels, side, side])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", channels, side, side])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString()
    return model


@settings(max_examples=25, deadline=None)
@given(
    groups=st.sampled_from([1, 2, 8]),
    per_group=st.sampled_from([1, 3, 4]),
    side=st.integers(2, 20),
    mean=st.floats(-5, 5),
    spread=st.sampled_from([0.01, 1.0, 100.0]),
    seed=st.integers(0, 99),
)
def test_outputs_are_those_of_onnxruntime(
    groups: int, per_group: int, side: int, mean: float, spread: float, seed: int
) -> None:
    of = Graph("latent encoder", group_norm(groups, groups * per_group, side, seed), ("y",))
    x = mean + spread * np.random.default_rng(seed).standard_normal((2, groups * per_group, side, side))
    feeds = {"x": x.astype(np.float32)}
    # E[x²] − E[x]² loses digits by the square of mean over spread; float32 has 24 bits.
    lost = 1 + (mean / spread) ** 2
    ours = open_engine("openvino", of, threads=1).run(feeds)["y"]
    np.testing.assert_allclose(ours, open_engine("onnxruntime", of, threads=1).run(feeds)["y"], atol=3e-5 * lost)


def model_of(data: bytes) -> openvino.Model:
    model = openvino.Core().read_model(io.BytesIO(data))
    model.reshape({"x": [1, *list(model.inputs[0].partial_shape)[1:]]})
    return model


def test_norm_is_found_and_gone_afterwards() -> None:
    model = model_of(group_norm(2, 8, 6, 0))
    assert spread_group_norms(model) == 1
    model.validate_nodes_and_infer_types()
    kinds = {node.get_type_name() for node in model.get_ordered_ops()}
    assert "MVN" not in kinds
    assert "ReduceL2" in kinds


def test_norm_whose_values_somebody_else_needs_is_left_alone() -> None:
    graph = onnx.load_from_string(group_norm(2, 8, 6, 0))
    graph.graph.output.append(helper.make_tensor_value_info("even", TensorProto.FLOAT, ["n", 2, None]))
    model = model_of(graph.SerializeToString())
    assert spread_group_norms(model) == 0
    assert "MVN" in {node.get_type_name() for node in model.get_ordered_ops()}
