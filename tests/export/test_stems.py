"""The network's first operation, taken of z0 above the noise."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import protoleak
from protoleak.bundle.bundle import Bundle
from protoleak.calibration.density import DensityModel
from protoleak.calibration.heads import PrototypeHead
from protoleak.choices import BackboneKind
from protoleak.dataset import Dataset
from protoleak.diffusion import NoiseSchedule, noise_bank
from protoleak.errors import ProtoleakError
from protoleak.export.density_module import DensityModule
from protoleak.export.export import export_bundle
from protoleak.export.graphs import DeployedAttributor, above_noise, export_attributor
from protoleak.export.head_modules import HeadModule
from protoleak.export.onnx_graph import prepared, weighted_layers
from protoleak.export.settings import ExportSettings
from protoleak.export.stems import FASTER_ABOVE, split_stem, stem_is_above
from protoleak.model.attributor import Attributor, AttributorConfig
from protoleak.model.checkpoint import TrainedModel
from protoleak.runtime.engines import EngineOptions
from protoleak.runtime.executors import ATTRIBUTOR_OUTPUTS, Graphs, open_executor
from protoleak.runtime.noising import Noising
from protoleak.serving.triton.graphs import served_graphs
from protoleak.serving.triton.parity import check_parity
from tests.training.images import IMAGE_SIZE, make_image

TIMESTEPS, LOOKS, LATENT = (
    (0, 100, 700),
    2,
    (4, 12, 10),
)  # planes that are not square: axes that are mixed up would show
# Sums of some hundred float32 products in another order, behind a network that adds little.
TOLERANCE = 2e-5


def noising(components: int | None) -> Noising:
    factors = NoiseSchedule().coefficients(TIMESTEPS, (0.03, 0.4, 1.0))
    return Noising.build(noise_bank(3, TIMESTEPS, LATENT), factors, components)


def network(backbone: BackboneKind, components: int | None) -> Attributor:
    torch.manual_seed(1)
    config = AttributorConfig(
        backbone=backbone,
        in_channels=LATENT[0] * (1 if components is None else 2),
        embedding_size=24,
        generators=3,
        prototypes_per_generator=2,
        timesteps=LOOKS * len(TIMESTEPS),
    )
    attributor = Attributor(config)
    for module in attributor.modules():  # a normalisation that has seen nothing would hide what is folded wrongly
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    return attributor.eval()


def latents(faces: int = 3) -> torch.Tensor:
    """z0 [N, L, C, h, w], with channels that have something in common."""
    values = np.random.default_rng(5).normal(size=(faces, LOOKS, *LATENT)).astype(np.float32)
    values[:, :, 1] += values[:, :, 0] + 0.5
    return torch.from_numpy(values)


def noised(z0: torch.Tensor, by: Noising) -> torch.Tensor:
    z_t = by(z0.flatten(0, 1).numpy())
    return torch.from_numpy(z_t).reshape(len(z0), -1, *z_t.shape[2:])


@pytest.mark.parametrize("components", [None, 3])
@pytest.mark.parametrize("backbone", ["conv", "second_order", "resnet18"])
def test_a_stem_above_the_noise_gives_what_the_network_gives_for_the_noised_latents(
    backbone: BackboneKind, components: int | None
) -> None:
    attributor, by, z0 = network(backbone, components), noising(components), latents()
    before = {name: value.clone() for name, value in attributor.state_dict().items()}
    stem, rest = split_stem(attributor, by)
    with torch.inference_mode():
        expected, found = attributor(noised(z0, by)), rest(stem(z0))
    for name, wanted, given in zip(expected._fields, expected, found, strict=True):
        assert given.shape == wanted.shape, name
        assert (given - wanted).abs().max() <= TOLERANCE * wanted.abs().max(), name
    for name, value in attributor.state_dict().items():  # the network itself is left as it was
        assert torch.equal(value, before[name]), name


def test_the_exported_graph_takes_z0_and_gives_what_the_network_gives_for_the_noised_latents() -> None:
    size = 24
    density = DensityModel("whitened", np.zeros(size), np.eye(size), np.eye(size)[:5], 1.0, 1.0)
    below = DeployedAttributor(network("second_order", 3), HeadModule(PrototypeHead()), DensityModule(density)).eval()
    by, z0 = noising(3), latents()
    with torch.inference_mode():
        outputs = below(noised(z0, by))
    found = _run(export_attributor(above_noise(below, by), z0), {"z0": z0.numpy()})
    for name, values in zip(ATTRIBUTOR_OUTPUTS, outputs, strict=True):
        expected = values.numpy()
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def test_auto_takes_the_first_operation_above_the_noise_where_that_is_faster() -> None:
    assert {kind for kind in FASTER_ABOVE if stem_is_above(kind, "auto")} == FASTER_ABOVE
    assert not stem_is_above("conv", "auto")
    assert stem_is_above("conv", "above_noise")
    assert not stem_is_above("second_order", "below_noise")
    assert not stem_is_above("vit_b_16", "auto")
    with pytest.raises(ProtoleakError, match=r"vit_b_16 cannot be taken above the noise: leave stem at 'auto'"):
        stem_is_above("vit_b_16", "above_noise")


@pytest.fixture(scope="module")
def pair(model: TrainedModel, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One model's bundles with its stem below and above the noise."""
    folder = tmp_path_factory.mktemp("stems")
    settings = ExportSettings(name="stems", stem="below_noise", computes=())
    export_bundle(model, dataset, folder / "below", settings, cache=folder / "cache")
    settings = msgspec.structs.replace(settings, stem="above_noise", variants=("int8",))
    export_bundle(model, dataset, folder / "above", settings, cache=folder / "cache")
    return folder / "below", folder / "above"


def test_both_bundles_give_the_same_verdicts_and_the_manifest_says_which_is_which(pair: tuple[Path, Path]) -> None:
    below, above = (Bundle.load(path) for path in pair)
    assert (below.manifest.attributor_input, above.manifest.attributor_input) == ("z_t", "z0")
    assert b"attributor_input" not in (pair[0] / "manifest.json").read_bytes()  # every protoleak reads it
    images = [make_image(kind, 70 + index) for index, kind in enumerate(("columns", "rows", "none"))]
    exact = {"engine": "onnxruntime", "variant": "fp32"}  # not what happens to be fastest
    with protoleak.load(below, **exact) as one, protoleak.load(above, **exact) as other:
        for expected, found in zip(one(images), other(images), strict=True):
            assert found.nearest == expected.nearest
            assert found.label == expected.label
            assert found.log_density == pytest.approx(expected.log_density, rel=1e-4, abs=1e-4)
            assert found.p_value == pytest.approx(expected.p_value, abs=0.03)  # one rank of 36


def test_lower_precisions_take_the_stem_and_leave_the_projection_of_the_noising_in_float32(
    pair: tuple[Path, Path],
) -> None:
    graph = prepared(Bundle.load(pair[1]).variant("fp32").attributor).graph
    layers = weighted_layers(graph, "attributor")
    assert "stem.convolution" in layers
    assert len([node for node in graph.node if "stem.left" in node.input]) == 2  # z0 from both sides
    assert not {node.name for node in graph.node if "stem.left" in node.input} & set(layers.values())


def test_a_server_for_triton_runs_the_graph_with_no_noising_in_front(pair: tuple[Path, Path]) -> None:
    bundle = Bundle.load(pair[1])
    variant = bundle.variant("fp32")
    by = Noising.of(bundle.manifest, bundle.noise_bank)
    served = served_graphs(variant.latent_encoder, variant.attributor, bundle.manifest, by)
    name, difference = check_parity(bundle, variant, served).largest
    assert difference <= 1e-5, name
    assert b"noise_term" not in served.attributor


def test_on_a_gpu_the_attributor_reads_z0_where_the_latent_encoder_wrote_it(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is an extra")
    from tests.runtime.executors.played_executor import open_played_executor

    bundle = Bundle.load(pair[1])
    images = np.random.default_rng(2).integers(0, 256, (3, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    graphs = Graphs.of_variant(bundle.variant("fp32"))
    host = open_executor("onnxruntime", graphs, bundle.manifest, bundle.noise_bank, threads=1).run(images, stages=True)
    assert set(host.stages) == {"z0", *ATTRIBUTOR_OUTPUTS}
    executor, worker = open_played_executor(monkeypatch, bundle, EngineOptions())
    for _ in range(3):  # plain, captured, launched
        found = executor.run(images, stages=True)
        assert found.z_t is None
        for name, values in host.stages.items():
            np.testing.assert_allclose(found.stages[name], values, rtol=1e-4, atol=1e-4, err_msg=name)
    assert "noising" not in " ".join(worker.log)
    assert executor.describe().settings["noising"] == "in the attributor"


def _run(model: bytes, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return dict(zip(ATTRIBUTOR_OUTPUTS, session.run(list(ATTRIBUTOR_OUTPUTS), feed), strict=True))
