"""Exported graphs compute in ONNX Runtime what the published code and the PyTorch model compute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import nn

from protoleak.calibration.density import DensityModel, fit_density
from protoleak.calibration.heads import fit_head
from protoleak.calibration.kernel import log_kernel_density
from protoleak.errors import CheckpointError, ParityError, ProtoleakError
from protoleak.export.density_module import DensityModule
from protoleak.export.graphs import (
    DeployedAttributor,
    export_attributor,
    export_latent_encoder,
)
from protoleak.export.head_modules import HeadModule
from protoleak.images.preprocess import preprocess
from protoleak.model.checkpoint import TrainedModel
from protoleak.model.latent_encoder import OnnxLatentEncoder, OnnxSettings, load_latent_encoder
from protoleak.model.published import import_checkpoint
from protoleak.model.torch_latent_encoder import EncoderModule, TorchLatentEncoder
from protoleak.runtime.executors import ATTRIBUTOR_OUTPUTS

TOLERANCE = 1e-4  # of an array's spread between images: what the issue asks for, in PyTorch and through the graphs
Arrays = dict[str, npt.NDArray[Any]]


def run(graph: bytes, feeds: Arrays, outputs: tuple[str, ...]) -> Arrays:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return dict(zip(outputs, session.run(list(outputs), feeds), strict=True))


def assert_within_spread(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= TOLERANCE * np.ptp(expected, axis=0).max()


@pytest.fixture(scope="module")
def reference(shared: Path) -> Path:
    return shared / "reference" / "conv-multistep"


@pytest.fixture(scope="module")
def recorded(reference: Path) -> Arrays:
    with np.load(reference / "expected.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def published(reference: Path) -> TrainedModel:
    settings = json.loads((reference / "meta.json").read_text())
    return import_checkpoint(
        reference / "checkpoint.pt",
        load_latent_encoder(reference / "vae"),
        timesteps=settings["t_steps"],
        generators=settings["classes"],
        temporal=reference / "temporal_pool.pt",
    )


def published_graph(published: TrainedModel, recorded: Arrays, density: DensityModel) -> bytes:
    train, validation = (
        [recorded[f"{split}/{name}"] for name in ("embedding", "gate", "label")] for split in ("train", "val")
    )
    head = fit_head("prototype", *train, *validation, published.config.generators)
    module = DeployedAttributor(published.attributor, HeadModule(head), DensityModule(density))
    return export_attributor(module, torch.zeros(2, 4, 4, 32, 32))


@pytest.fixture(scope="module")
def gated_density(recorded: Arrays) -> DensityModel:
    """The published density at one of the bandwidths that were recorded."""
    references = (recorded["train/embedding"] * recorded["train/gate"]).astype(np.float64)
    size = references.shape[1]
    return DensityModel(
        "gated", np.zeros(size), np.eye(size), references, bandwidth=0.4, bandwidth_in_neighbour_distances=1.0
    )


@pytest.fixture(scope="module")
def through_the_graphs(
    published: TrainedModel, recorded: Arrays, reference: Path, gated_density: DensityModel
) -> Arrays:
    """Every stage from pixels on, each graph fed what the stage before gave."""
    names = json.loads((reference / "meta.json").read_text())["images"]
    images = np.stack([preprocess(Image.open(reference / "images" / name).convert("RGB"), 256) for name in names])
    z0 = run(export_latent_encoder(published.latent_encoder, 256), {"image": images}, ("z0",))["z0"]
    z_t = published.config.noised(z0, recorded["forward/eps"])
    graph = published_graph(published, recorded, gated_density)
    return {
        "z0": z0,
        "z_t": z_t,
        **run(graph, {"z_t": z_t}, ATTRIBUTOR_OUTPUTS),
        "graph": np.frombuffer(graph, np.uint8),
    }


@pytest.mark.parametrize(
    "stage", ["z0", "z_t", "timestep_weight", "embedding", "gate", "prototype_distance", "score_lse", "score_min"]
)
def test_from_pixels_to_scores_the_graphs_agree_with_the_published_code(
    stage: str, through_the_graphs: Arrays, recorded: Arrays
) -> None:
    found = through_the_graphs | {
        "score_lse": through_the_graphs["class_score"],
        "score_min": -through_the_graphs["prototype_distance"].min(axis=2),
    }
    assert_within_spread(found[stage], recorded[f"forward/{stage}"])


def test_the_attributor_graph_fed_the_recorded_latents_agrees_with_the_published_code(
    through_the_graphs: Arrays, recorded: Arrays
) -> None:
    found = run(through_the_graphs["graph"].tobytes(), {"z_t": recorded["forward/z_t"]}, ATTRIBUTOR_OUTPUTS)
    for name in ("timestep_weight", "embedding", "gate", "prototype_distance"):
        assert_within_spread(found[name], recorded[f"forward/{name}"])
    assert_within_spread(found["class_score"], recorded["forward/score_lse"])


def test_a_graph_says_nothing_of_the_machine_that_exported_it(
    published: TrainedModel, recorded: Arrays, gated_density: DensityModel
) -> None:
    attributor = published_graph(published, recorded, gated_density)
    latent_encoder = export_latent_encoder(published.latent_encoder, 256)
    for graph in (attributor, latent_encoder):
        assert b"stack_trace" not in graph
        assert str(Path.cwd()).encode() not in graph


def test_the_density_inside_the_graph_is_the_recorded_exact_one(through_the_graphs: Arrays, recorded: Arrays) -> None:
    # The graph is float32 throughout; the recorded numbers are float64.
    assert_within_spread(through_the_graphs["log_density"], recorded["kde/log_density_bw0.4"])


def test_the_whitened_density_inside_the_graph_is_the_exact_float64_one(
    published: TrainedModel, recorded: Arrays
) -> None:
    train = [recorded[f"train/{name}"] for name in ("embedding", "gate", "label")]
    density = fit_density(*train, recorded["val/embedding"], recorded["val/gate"])
    graph = published_graph(published, recorded, density)
    found = run(graph, {"z_t": recorded["forward/z_t"]}, ATTRIBUTOR_OUTPUTS)
    vectors = density.vector(recorded["forward/embedding"], recorded["forward/gate"])
    exact = log_kernel_density(vectors, density.references, density.bandwidth)
    assert_within_spread(found["log_density"], exact)


def test_the_density_stays_exact_where_training_sets_generators_hundreds_of_bandwidths_apart() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    centres = random.normal(size=(3, 32))

    def near(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return (centres[labels] + random.normal(scale=1e-2, size=(len(labels), 32))).astype(np.float32)

    gate = np.ones((60, 32), dtype=np.float32)
    embedding, images = near(labels), near(labels)
    density = fit_density(embedding, gate, labels, images, gate)
    distance = np.linalg.norm(density.references[0] - density.references[1])
    assert distance > 300 * density.bandwidth
    with torch.no_grad():
        found = DensityModule(density)(torch.from_numpy(images), torch.from_numpy(gate)).numpy()
    # Six times what was measured, and far below what tells images apart; vectors as long as these, expanded into
    # products, were off by 0.05.
    assert np.abs(found - density.log_density(images, gate)).max() <= 1e-3


def test_an_image_gives_the_same_outputs_alone_and_among_others(through_the_graphs: Arrays, recorded: Arrays) -> None:
    graph, z_t = through_the_graphs["graph"].tobytes(), recorded["forward/z_t"]
    together = run(graph, {"z_t": z_t}, ATTRIBUTOR_OUTPUTS)
    alone = run(graph, {"z_t": z_t[3:4]}, ATTRIBUTOR_OUTPUTS)
    for name in ATTRIBUTOR_OUTPUTS:  # ONNX Runtime may sum a batch in another order; the runtime feeds it one by one
        np.testing.assert_allclose(alone[name][0], together[name][3], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("opset", [18, 20, 22])
def test_the_graph_has_the_opset_that_was_asked_for_and_an_ir_that_older_runtimes_read(opset: int) -> None:
    graph = onnx.load_from_string(export_latent_encoder(torch_encoder(nn.Conv2d(3, 4, 8, stride=8)), 32, opset))
    assert [each.version for each in graph.opset_import if each.domain in ("", "ai.onnx")] == [opset]
    assert graph.ir_version <= 10


def torch_encoder(network: nn.Module) -> TorchLatentEncoder:
    return TorchLatentEncoder("light_encoder", EncoderModule(network, nn.Identity(), 4, 1.0), lambda _: None)


def test_random_operators_fail_the_export() -> None:
    class Sampling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean = nn.Conv2d(3, 4, 8, stride=8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mean: torch.Tensor = self.mean(x)
            return mean + torch.randn_like(mean)

    with pytest.raises(ParityError, match="random operators: RandomNormal"):
        export_latent_encoder(torch_encoder(Sampling()), 32)


def test_weights_that_are_not_finite_fail_the_export() -> None:
    network = nn.Conv2d(3, 4, 8, stride=8)
    with torch.no_grad():
        network.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(ParityError, match="NaN or infinite weights"):
        export_latent_encoder(torch_encoder(network), 32)


def test_an_opset_that_does_not_exist_is_refused_by_its_number() -> None:
    with pytest.raises(ProtoleakError, match="opset 99"):
        export_latent_encoder(torch_encoder(nn.Conv2d(3, 4, 8, stride=8)), 32, opset=99)


def onnx_encoder(
    shape: list[Any],
    nodes: list[onnx.NodeProto] | None = None,
    *,
    tensors: dict[str, Any] | None = None,
    element: int = TensorProto.FLOAT,
    weights_are_inputs: bool = False,
    more_outputs: bool = False,
    settings: OnnxSettings | None = None,
) -> OnnxLatentEncoder:
    """An 8×8 convolution [N, 3, 32, 32] → [N, 4, 4, 4], then `nodes`, which lead from "conv" to "latent"."""
    dtype = helper.tensor_dtype_to_np_dtype(element)
    weight = np.random.default_rng(0).normal(scale=0.1, size=(4, 3, 8, 8)).astype(dtype)
    initializers = [numpy_helper.from_array(weight, "weight")]
    initializers += [numpy_helper.from_array(np.asarray(value), name) for name, value in (tensors or {}).items()]
    inputs = [helper.make_tensor_value_info("image", element, shape)]
    if weights_are_inputs:
        inputs.insert(0, helper.make_tensor_value_info("weight", element, weight.shape))
    outputs = [helper.make_tensor_value_info("latent", element, [shape[0], 4, "h", "w"])]
    conv = helper.make_node("Conv", ["image", "weight"], ["conv"], kernel_shape=[8, 8], strides=[8, 8])
    rest = nodes or [helper.make_node("Identity", ["conv"], ["latent"])]
    if more_outputs:
        rest.append(helper.make_node("Flatten", ["conv"], ["features"]))
        outputs.insert(0, helper.make_tensor_value_info("features", element, [shape[0], None]))
    graph = helper.make_graph([conv, *rest], "encoder", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return OnnxLatentEncoder(model.SerializeToString(), settings or OnnxSettings())


IMAGES = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"shape": ["n", 3, "h", "w"]}, id="everything dynamic"),
        pytest.param({"shape": ["n", 3, 32, 32]}, id="batch dynamic"),
        pytest.param({"shape": [1, 3, 32, 32]}, id="batch of one"),
        pytest.param({"shape": [4, 3, 32, 32]}, id="batch of four"),
        pytest.param(
            {"shape": [1, 3, 32, 32], "settings": OnnxSettings(input_range=(-1, 1), scaling=0.18215)},
            id="range and scaling",
        ),
        pytest.param({"shape": ["n", 3, 32, 32], "weights_are_inputs": True}, id="weights among the inputs"),
        pytest.param({"shape": ["n", 3, 32, 32], "more_outputs": True}, id="another output first"),
        pytest.param({"shape": [1, 3, 32, 32], "element": TensorProto.FLOAT16}, id="half precision"),
    ],
)
def test_any_onnx_encoder_gives_in_a_batch_what_it_gives_when_run_directly(options: dict[str, Any]) -> None:
    encoder = onnx_encoder(**options)
    found = run(export_latent_encoder(encoder, 32), {"image": IMAGES}, ("z0",))["z0"]
    # Both are float32 and differ in where the scaling to the input's range rounds; half precision has 11 bits.
    tolerance = 2e-3 if "element" in options else 1e-5
    np.testing.assert_allclose(found, encoder.encode(IMAGES), atol=tolerance)
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("nodes", "tensors"),
    [
        pytest.param(
            [helper.make_node("Reshape", ["conv", "shape"], ["latent"])],
            {"shape": np.array([1, 4, 4, 4], dtype=np.int64)},
            id="a reshape to one image",
        ),
        pytest.param(
            [
                helper.make_node("ReduceMean", ["conv"], ["mean"], axes=[0]),
                helper.make_node("Sub", ["conv", "mean"], ["latent"]),
            ],
            None,
            id="images that mix",
        ),
    ],
)
def test_an_onnx_encoder_whose_batch_cannot_be_made_dynamic_is_refused(
    nodes: list[onnx.NodeProto], tensors: dict[str, Any] | None
) -> None:
    with pytest.raises(CheckpointError, match=r"fixed batch that cannot be made dynamic.*again with a dynamic batch"):
        export_latent_encoder(onnx_encoder([1, 3, 32, 32], nodes, tensors=tensors), 32)
