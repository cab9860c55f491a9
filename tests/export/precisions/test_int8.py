"""int8 by Q/DQ nodes: what is quantised and how, what isn't, and that it runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper

from protoleak.bundle.graph_check import inspect_onnx
from protoleak.choices import RANGE_METHODS, RangeMethod
from protoleak.errors import CalibrationError, CheckpointError
from protoleak.export.precisions.int8 import Quantiser
from protoleak.export.precisions.sensitivity import rank_layers
from tests.export.precisions.precision_graphs import encoder, make_images, run, signal_to_noise

LAYERS = ("in", "block", "out")


@pytest.fixture(scope="module")
def quantiser() -> Quantiser:
    return Quantiser(encoder(), "latent_encoder", make_images(8), "minmax")


class Graph:
    """A model's nodes by what they write, and its constants."""

    def __init__(self, model: bytes) -> None:
        self.proto = onnx.load_from_string(model)
        onnx.checker.check_model(self.proto, full_check=True)
        self.producer = {output: node for node in self.proto.graph.node for output in node.output}
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.proto.graph.initializer}

    def nodes(self, operator: str) -> list[onnx.NodeProto]:
        return [node for node in self.proto.graph.node if node.op_type == operator]

    def dequantised(self, name: str) -> onnx.NodeProto | None:
        node = self.producer.get(name)
        return node if node is not None and node.op_type == "DequantizeLinear" else None


def test_weights_are_symmetric_int8_per_output_channel_and_biases_stay_float(quantiser: Quantiser) -> None:
    graph = Graph(quantiser.quantised(LAYERS))
    assert quantiser.layers == LAYERS
    for node in graph.nodes("Conv"):
        weight = graph.dequantised(node.input[1])
        assert weight is not None
        values, scale, zero = (graph.constants[name] for name in weight.input)
        assert values.dtype == np.int8
        assert scale.shape == (values.shape[0],)
        assert not zero.any()
        assert {attribute.name: attribute.i for attribute in weight.attribute}["axis"] == 0
        # every channel uses its whole range: the largest weight is ±127
        assert (np.abs(values.astype(int)).reshape(len(values), -1).max(axis=1) == 127).all()
        assert graph.constants[node.input[2]].dtype == np.float32


def test_activations_are_symmetric_int8_on_both_sides_of_a_layer(quantiser: Quantiser) -> None:
    graph = Graph(quantiser.quantised(LAYERS))
    for quantise in graph.nodes("QuantizeLinear"):
        scale, zero = (graph.constants[name] for name in quantise.input[1:])
        assert scale.shape == ()
        assert (zero.dtype, zero.item()) == (np.int8, 0)
    readers = [node.input[0] for node in graph.nodes("QuantizeLinear")]
    for node in graph.nodes("Conv"):
        assert graph.dequantised(node.input[0]) is not None
        assert node.output[0] in readers


def test_everything_else_reads_float_that_was_not_rounded_for_a_layer(quantiser: Quantiser) -> None:
    """The residual sum reads the stream itself, though the layer beside it reads the same tensor in int8."""
    graph = Graph(quantiser.quantised(LAYERS))
    residual = next(node for node in graph.nodes("Add") if node.output[0] == "sum")
    assert residual.input[0] == "swish"
    assert graph.dequantised(graph.nodes("Conv")[1].input[0]) is not None


@pytest.mark.parametrize("method", RANGE_METHODS)
def test_every_way_of_choosing_ranges_gives_a_graph_that_runs_and_is_close(method: RangeMethod) -> None:
    """8 bits over a range of some 4 deviations leave about 35 dB per rounding; several, and clipped tails, less."""
    model = Quantiser(encoder(), "latent_encoder", make_images(8), method).quantised(LAYERS)
    expected, found = run(encoder(), make_images(6, seed=9))[0], run(model, make_images(6, seed=9))[0]
    assert 20 < signal_to_noise(found, expected) < 60


def test_only_the_layers_asked_for_are_int8(quantiser: Quantiser) -> None:
    graph = Graph(quantiser.quantised(["block"]))
    assert [graph.dequantised(node.input[1]) is not None for node in graph.nodes("Conv")] == [False, True, False]
    none = quantiser.quantised([])
    assert not Graph(none).nodes("QuantizeLinear")
    feeds = [*make_images(2)]
    np.testing.assert_array_equal(run(none, iter(feeds))[0], run(encoder(), iter(feeds))[0])


def test_quantising_again_gives_the_same_bytes(quantiser: Quantiser) -> None:
    first = quantiser.quantised(LAYERS)
    quantiser.quantised(["in"])
    assert quantiser.quantised(LAYERS) == first


def test_versions_and_domains_stay_what_other_engines_read(quantiser: Quantiser) -> None:
    model = quantiser.quantised(LAYERS)
    proto = onnx.load_from_string(model)
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", 20)]
    assert proto.ir_version <= 10
    assert {node.domain for node in proto.graph.node} == {""}
    assert proto.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert proto.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert inspect_onnx(model).problems() == []


@pytest.mark.parametrize("method", RANGE_METHODS)
def test_without_an_image_there_is_no_int8(method: RangeMethod) -> None:
    with pytest.raises(CalibrationError, match="real images"):
        Quantiser(encoder(), "latent_encoder", iter([]), method)


def test_an_opset_without_scales_per_channel_is_refused_with_what_to_do() -> None:
    proto = onnx.load_from_string(encoder())
    proto.opset_import[0].version = 12
    with pytest.raises(CheckpointError, match="opset 12, and int8 per channel needs 13"):
        Quantiser(proto.SerializeToString(), "latent_encoder", make_images(1), "minmax")


def test_a_layer_that_int8_harms_more_is_ranked_before_those_that_it_harms_less() -> None:
    """One weight of a layer, a thousand times the others of its channel, takes all steps of the range for itself."""
    proto = onnx.load_from_string(encoder())
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "block.weight")
    values = numpy_helper.to_array(weight).copy()
    values[:, 0, 0, 0] *= 1000
    # The outlier reads a channel that is constant, so it carries no signal, only the loss of the others' steps.
    gamma = next(tensor for tensor in proto.graph.initializer if tensor.name == "gamma")
    gains = numpy_helper.to_array(gamma).copy()
    gains[0, 0] = 0.0
    weight.CopyFrom(numpy_helper.from_array(values, "block.weight"))
    gamma.CopyFrom(numpy_helper.from_array(gains, "gamma"))
    quantiser = Quantiser(proto.SerializeToString(), "latent_encoder", make_images(4), "minmax")
    done: list[int] = []

    def embed(stage: str, model: bytes) -> np.ndarray:  # noqa: ARG001
        return run(model, make_images(4))[0].reshape(4, -1)

    ranking = rank_layers({"latent_encoder": quantiser}, embed, done.append)
    assert ranking[0].layer == "block"
    assert [item.signal_to_noise_db for item in ranking] == sorted(item.signal_to_noise_db for item in ranking)
    assert {item.layer for item in ranking} == set(LAYERS)
    assert done == [1, 2, 3]


def test_onnx_runtime_takes_every_layer_around_a_group_normalisation_for_int8(tmp_path: Path) -> None:
    """The exporter ends a group normalisation with a reshape to Shape(x), one more reader of what a layer gives."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, padding=1),
        *(torch.nn.GroupNorm(4, 16), torch.nn.SiLU(), torch.nn.Conv2d(16, 16, 3, padding=1)),
        *(torch.nn.GroupNorm(4, 16), torch.nn.SiLU(), torch.nn.Conv2d(16, 4, 3, padding=1)),
    )
    example = torch.zeros(2, 3, 16, 16)
    program = torch.onnx.export(
        network.eval(),
        (example,),
        dynamo=True,
        input_names=["image"],
        output_names=["z0"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        opset_version=20,
        external_data=False,
        verbose=False,
    )
    assert program is not None
    images = [np.random.default_rng(index).normal(size=(1, 3, 16, 16)).astype(np.float32) for index in range(4)]
    model = program.model_proto.SerializeToString()
    assert any(node.op_type == "Shape" for node in onnx.load_from_string(model).graph.node)
    quantiser = Quantiser(model, "latent_encoder", ({"image": image} for image in images), "minmax")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    session = onnxruntime.InferenceSession(
        quantiser.quantised(quantiser.layers), options, providers=["CPUExecutionProvider"]
    )
    operators = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert (operators.count("QLinearConv"), operators.count("Conv")) == (3, 0)
    for batch in (images[0], np.concatenate(images)):
        with torch.inference_mode():
            expected = network(torch.from_numpy(batch)).numpy()
        assert signal_to_noise(session.run(["z0"], {"image": batch})[0], expected) > 25
