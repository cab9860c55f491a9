"""float16 by types: which operators get it, what stays float32, and what comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from protoleak.bundle.graph_check import inspect_onnx
from protoleak.calibration.density import fit_density
from protoleak.calibration.heads import PrototypeHead
from protoleak.errors import CheckpointError
from protoleak.export.density_module import DensityModule
from protoleak.export.graphs import DeployedAttributor, export_attributor
from protoleak.export.head_modules import HeadModule
from protoleak.export.onnx_graph import prepared
from protoleak.export.precisions.fp16 import largest_magnitudes, to_float16
from protoleak.model.latent_encoder import load_latent_encoder
from protoleak.model.published import import_checkpoint
from tests.export.precisions.precision_graphs import encoder, input_types, make_images, run, signal_to_noise

HALF, FULL = {TensorProto.FLOAT16}, {TensorProto.FLOAT}
# 11 bits hold a value to 2^-12 of its size, -72 dB; three layers and their inputs together lose some 10 dB of that.
LEAST_SIGNAL_TO_NOISE = 55.0
ALWAYS_FULL = ("InstanceNormalization", "LayerNormalization", "Softmax", "Exp", "Log", "Sqrt", "Pow", "Neg")


def magnitudes(model: bytes) -> dict[str, float]:
    return largest_magnitudes(prepared(model), make_images(4))


def test_layers_are_float16_and_normalisation_with_its_affine_and_the_ends_are_float32() -> None:
    half = to_float16(encoder(), "latent_encoder", magnitudes(encoder()))
    assert half.layers == ("in", "block", "out")
    assert half.out_of_range == ()
    types = input_types(half.model)
    assert types["Conv"] == [HALF] * 3
    assert types["InstanceNormalization"] == [FULL]
    assert types["Div"] == types["Sub"] == [FULL]  # pixels are rounded once, when they are centred
    assert types["Mul"] == [FULL, HALF, FULL]  # of the norm, of the swish, of the scaling behind the last layer
    assert types["Add"] == [FULL, HALF]
    assert types["Relu"] == types["Sigmoid"] == [HALF]


def test_inputs_and_outputs_keep_their_types_and_versions_stay() -> None:
    proto = onnx.load_from_string(to_float16(encoder(), "latent_encoder", {}).model)
    assert [value.type.tensor_type.elem_type for value in proto.graph.input] == [TensorProto.UINT8]
    assert [value.type.tensor_type.elem_type for value in proto.graph.output] == [TensorProto.FLOAT]
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", 20)]
    assert proto.ir_version == 10


def test_the_result_is_that_of_float32_to_the_precision_of_float16_and_the_file_is_half_as_large() -> None:
    half = to_float16(encoder(), "latent_encoder", magnitudes(encoder())).model
    expected, found = run(encoder(), make_images(4, seed=5))[0], run(half, make_images(4, seed=5))[0]
    assert found.dtype == np.float32
    assert LEAST_SIGNAL_TO_NOISE < signal_to_noise(found, expected) < 100  # above 100 dB nothing would be float16
    assert inspect_onnx(half).problems() == []
    stored = {tensor.name: tensor for tensor in onnx.load_from_string(half).graph.initializer}
    assert "in.weight" not in stored
    assert stored["in.weight/fp16"].data_type == TensorProto.FLOAT16


def test_a_layer_whose_numbers_would_overflow_stays_float32() -> None:
    """Sums of 2e5 are infinite in float16; the normalisation behind them makes everything ordinary again."""
    huge = encoder(first_scale=2e5)
    unguarded = run(to_float16(huge, "latent_encoder", {}).model, make_images(2))[0]
    assert not np.isfinite(unguarded).all()
    half = to_float16(huge, "latent_encoder", magnitudes(huge))
    assert half.out_of_range == ("in",)
    assert half.layers == ("block", "out")
    expected, found = run(huge, make_images(2))[0], run(half.model, make_images(2))[0]
    assert signal_to_noise(found, expected) > LEAST_SIGNAL_TO_NOISE


def test_a_layer_whose_numbers_would_vanish_stays_float32() -> None:
    """All of 1e-7 is a step or two of float16; the normalisation behind it makes everything ordinary again."""
    tiny = encoder(first_scale=1e-6, first_bias=1e-7)
    half = to_float16(tiny, "latent_encoder", magnitudes(tiny))
    assert half.out_of_range == ("in",)
    expected, found = run(tiny, make_images(2))[0], run(half.model, make_images(2))[0]
    assert signal_to_noise(found, expected) > LEAST_SIGNAL_TO_NOISE
    unguarded = run(to_float16(tiny, "latent_encoder", {}).model, make_images(2))[0]
    assert signal_to_noise(unguarded, expected) < signal_to_noise(found, expected) - 10


def test_a_transpose_behind_a_norm_is_float32() -> None:
    """In float16, between the norm and a matrix product, it crashes ONNX Runtime's CPU provider (onnxruntime#28392)."""
    proto = onnx.load_from_string(encoder())
    nodes = {node.output[0]: node for node in proto.graph.node}
    nodes["swish"].input[0] = nodes["swish"].input[1] = nodes["sigmoid"].input[0] = "turned"
    turn = helper.make_node("Transpose", ["affine"], ["turned"], perm=[0, 1, 3, 2])
    proto.graph.node.insert(list(proto.graph.node).index(nodes["affine"]) + 1, turn)
    assert input_types(to_float16(proto.SerializeToString(), "latent_encoder", {}).model)["Transpose"][1:] == [FULL]


def test_the_largest_magnitudes_are_those_of_the_tensors() -> None:
    largest = magnitudes(encoder())
    images = np.concatenate([feed["image"] for feed in make_images(4)])
    assert largest["float"] == images.max()
    assert largest["centred"] == pytest.approx(np.abs(images / 127.5 - 1).max(), rel=1e-6)
    assert largest["z0"] == pytest.approx(np.abs(run(encoder(), make_images(4))[0]).max(), rel=1e-5)


def test_a_graph_with_control_flow_is_refused() -> None:
    proto = onnx.load_from_string(encoder())
    branch = helper.make_graph([], "branch", [], [helper.make_tensor_value_info("z0", TensorProto.FLOAT, None)])
    proto.graph.node.append(helper.make_node("If", ["flag"], ["other"], then_branch=branch, else_branch=branch))
    with pytest.raises(CheckpointError, match="control flow"):
        to_float16(proto.SerializeToString(), "latent_encoder", {})


@pytest.fixture(scope="module")
def reference_attributor(shared: Path) -> tuple[bytes, np.ndarray]:
    """The recorded checkpoint's attributor, exported, and noised latents of its images."""
    folder = shared / "reference" / "conv-multistep"
    recorded = np.load(folder / "expected.npz")
    model = import_checkpoint(
        folder / "checkpoint.pt",
        load_latent_encoder(folder / "vae"),
        timesteps=(0, 100, 300, 500),
        generators=["a", "b", "c"],
        temporal=folder / "temporal_pool.pt",
    )
    train = (recorded["train/embedding"], recorded["train/gate"], recorded["train/label"])
    density = fit_density(*train, recorded["val/embedding"], recorded["val/gate"])
    deployed = DeployedAttributor(model.attributor, HeadModule(PrototypeHead()), DensityModule(density)).eval()
    return export_attributor(deployed, torch.zeros(2, 4, 4, 32, 32)), recorded["forward/z_t"]


def test_of_the_attributor_only_the_backbone_is_float16(reference_attributor: tuple[bytes, np.ndarray]) -> None:
    model, z_t = reference_attributor
    largest = largest_magnitudes(prepared(model), ({"z_t": row[None]} for row in z_t))
    half = to_float16(model, "attributor", largest)
    assert half.layers == tuple(f"attributor.backbone.encoder.conv{index}" for index in (1, 2, 3))
    types = input_types(half.model)
    assert types["Conv"] == [HALF] * 3
    rest = {*ALWAYS_FULL, "MatMul", "Gemm", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceLogSumExp", "Sigmoid"}
    for operator in rest & types.keys():
        assert all(kinds == FULL for kinds in types[operator]), operator
    feeds = [{"z_t": row[None]} for row in z_t]
    for found, expected in zip(run(half.model, iter(feeds)), run(model, iter(feeds)), strict=True):
        assert found.dtype == np.float32
        assert signal_to_noise(found, expected) > LEAST_SIGNAL_TO_NOISE
