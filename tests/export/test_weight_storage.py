"""Weights that take two bytes in a bundle give the numbers of those that take four."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from protoleak.bundle.graph_check import inspect_onnx
from protoleak.export.weight_storage import LARGE, SUFFIX, round_large_weights, stored_as_float16
from protoleak.model.second_order import SecondOrderEncoder

SIDE = 128
assert SIDE * SIDE >= LARGE


def linear(weights: np.ndarray) -> bytes:
    small = np.arange(SIDE, dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", SIDE])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(small, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return model.SerializeToString()


def outputs(model: bytes, x: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(model).run(None, {"x": x})[0]


def test_rounded_weights_are_stored_in_half_the_bytes_with_equal_outputs():
    network = torch.nn.Linear(SIDE, SIDE)
    small = network.bias.detach().clone()
    assert round_large_weights(network) == 1
    assert torch.equal(network.bias, small)
    model = linear(network.weight.detach().numpy().T.copy())
    stored = stored_as_float16(model)
    assert len(stored) < 0.55 * len(model)
    types = {one.name: one.data_type for one in onnx.load_from_string(stored).graph.initializer}
    assert types == {"w" + SUFFIX: TensorProto.FLOAT16, "b": TensorProto.FLOAT}
    onnx.checker.check_model(onnx.load_from_string(stored), full_check=True)
    assert inspect_onnx(stored).problems() == []
    x = np.random.default_rng(0).standard_normal((3, SIDE)).astype(np.float32)
    assert np.array_equal(outputs(stored, x), outputs(model, x))


@pytest.mark.parametrize("value", [1 + 2**-12, 1e6, 1e-9])
def test_a_value_that_float16_does_not_hold_keeps_its_constant(value):
    weights = np.ones((SIDE, SIDE), np.float32)
    weights[5, 7] = value
    model = linear(weights)
    assert onnx.load_from_string(stored_as_float16(model)) == onnx.load_from_string(model)


def test_normalisations_are_folded_so_that_the_exported_weights_are_the_rounded_ones():
    torch.manual_seed(0)
    network = SecondOrderEncoder(in_channels=16, embedding_size=8, positions=2)
    z = torch.randn(4, 16, 8, 8)
    network.train()
    for _ in range(3):
        network(z)  # running statistics that are not those of a new network
    before = network.eval()(z)
    assert round_large_weights(network) == 2
    assert torch.allclose(network(z), before, rtol=1e-2, atol=1e-3)
    assert not any(isinstance(part, torch.nn.BatchNorm1d) for part in network.modules())


def test_parameters_beyond_float16_are_not_rounded():
    network = torch.nn.Linear(SIDE, SIDE)
    with torch.no_grad():
        network.weight[0, 0] = 1e6
    before = network.weight.detach().clone()
    assert round_large_weights(network) == 0
    assert torch.equal(network.weight, before)
