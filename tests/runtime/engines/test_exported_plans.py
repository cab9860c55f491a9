"""What the exporter writes is what TensorRT builds: both graphs, in each precision, with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from protoleak.runtime.engines import EngineOptions, Graph, open_engine
from protoleak.runtime.executors import ATTRIBUTOR_OUTPUTS
from tests.paths import EXAMPLES

for package, reason in (
    ("tensorrt_rtx", "TensorRT-RTX is an extra"),
    ("torch", "torch exports the graphs"),
    ("onnxscript", "torch exports with it"),
):
    pytest.importorskip(package, reason=reason)

import onnx  # noqa: E402
import torch  # noqa: E402

from protoleak.bundle.bundle import DEFAULT_BUNDLE, Bundle  # noqa: E402
from protoleak.calibration.density import DensityModel  # noqa: E402
from protoleak.calibration.heads import PrototypeHead  # noqa: E402
from protoleak.export.density_module import DensityModule  # noqa: E402
from protoleak.export.graphs import (  # noqa: E402
    DeployedAttributor,
    export_attributor,
    export_latent_encoder,
)
from protoleak.export.head_modules import HeadModule  # noqa: E402
from protoleak.export.onnx_graph import weighted_layers  # noqa: E402
from protoleak.export.precisions.fp16 import to_float16  # noqa: E402
from protoleak.export.precisions.int8 import Quantiser  # noqa: E402
from protoleak.images.open import open_image  # noqa: E402
from protoleak.model.attributor import Attributor, AttributorConfig  # noqa: E402
from protoleak.model.latent_encoder import load_latent_encoder  # noqa: E402
from protoleak.model.light_encoder import LightEncoder, LightEncoderConfig  # noqa: E402
from protoleak.runtime.engines.tensorrt.builder import build_plan  # noqa: E402
from protoleak.runtime.engines.tensorrt.library import load_library  # noqa: E402
from protoleak.runtime.engines.tensorrt.settings import plan_key  # noqa: E402
from protoleak.runtime.executors import Graphs  # noqa: E402
from protoleak.runtime.noising import Noising  # noqa: E402

CAPABILITIES = ("8.6", "8.9", "12.0")

SIDE, LATENT, STEPS, EMBEDDING = 64, (8, 8, 8), 2, 32
INPUTS = {"latent_encoder": "image", "attributor": "z_t"}
OUTPUTS = {"latent_encoder": ("z0",), "attributor": ATTRIBUTOR_OUTPUTS}


def example(stage: str) -> np.ndarray:
    random = np.random.default_rng(0)
    if stage == "latent_encoder":
        return random.integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
    return random.standard_normal((1, STEPS, 2 * LATENT[0], *LATENT[1:])).astype(np.float32)


@pytest.fixture(scope="module")
def latent_encoder(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("light")
    torch.manual_seed(0)
    config = LightEncoderConfig(latent_channels=LATENT[0], widths=(16, 24, 32), blocks=(1, 1, 1))
    LightEncoder(config).save(folder)
    return export_latent_encoder(load_latent_encoder(folder), SIDE)


@pytest.fixture(scope="module", params=["conv", "resnet18"])
def attributor(request: pytest.FixtureRequest) -> bytes:
    torch.manual_seed(0)
    config = AttributorConfig(
        backbone=request.param,
        in_channels=2 * LATENT[0],
        embedding_size=EMBEDDING,
        generators=3,
        prototypes_per_generator=2,
        timesteps=STEPS,
    )
    references = np.random.default_rng(1).standard_normal((40, EMBEDDING))
    density = DensityModel("whitened", np.zeros(EMBEDDING), np.eye(EMBEDDING), references, 1.0, 1.0)
    module = DeployedAttributor(Attributor(config), HeadModule(PrototypeHead()), DensityModule(density)).eval()
    return export_attributor(module, torch.zeros(2, STEPS, 2 * LATENT[0], *LATENT[1:]))


def in_precision(model: bytes, stage: str, precision: str) -> bytes:
    if precision == "fp16":
        return to_float16(model, stage, {}).model  # type: ignore[arg-type]
    if precision == "int8":
        quantiser = Quantiser(model, stage, iter([{INPUTS[stage]: example(stage)}]), "minmax")  # type: ignore[arg-type]
        return quantiser.quantised(quantiser.layers)
    return model


def check_plan(model: bytes, stage: str, precision: str, layers: int) -> None:
    library, graph = load_library("tensorrt-rtx"), Graph(stage, in_precision(model, stage, precision), OUTPUTS[stage])
    key = plan_key(library, graph, EngineOptions(), CAPABILITIES)
    plan = build_plan(library, graph, key, b"", lambda *_: None)
    assert set(plan.layers) <= {"fp32", precision}
    assert plan.layers[precision] >= layers, plan.layers


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_latent_encoder_becomes_a_plan_of_its_precision(latent_encoder: bytes, precision: str) -> None:
    convolutions = 3 + 2 * 3 + 1
    check_plan(latent_encoder, "latent_encoder", precision, convolutions)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_attributor_becomes_a_plan_of_its_precision(attributor: bytes, precision: str) -> None:
    check_plan(attributor, "attributor", precision, 3)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_openvino_runs_both_graphs_as_onnxruntime_does(
    latent_encoder: bytes, attributor: bytes, precision: str
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is an extra")
    # Of the largest value. fp16: OpenVINO keeps more digits between layers than ONNX Runtime. int8: a value between two
    # steps may be rounded either way, and random weights spread that.
    tolerance = {"fp32": 1e-5, "fp16": 5e-3, "int8": 0.1}[precision]
    for stage, model in (("latent_encoder", latent_encoder), ("attributor", attributor)):
        graph = Graph(stage, in_precision(model, stage, precision), OUTPUTS[stage])
        feeds = {INPUTS[stage]: example(stage)}
        reference = open_engine("onnxruntime", graph, threads=1).run(feeds)
        found = open_engine("openvino", graph, threads=1).run(feeds)
        for name, values in reference.items():
            assert np.abs(found[name] - values).max() <= tolerance * np.abs(values).max(), (stage, name)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_default_bundle_becomes_plans_of_every_precision(precision: str) -> None:
    """As the bundle carries it, or made from its fp32 graphs as the exporter does; int8 ranges are of its examples."""
    if not (Path(DEFAULT_BUNDLE) / "manifest.json").is_file():
        pytest.skip("this copy has no default bundle")
    bundle = Bundle.load()
    carried = precision in bundle.manifest.variants
    variant = bundle.variant(precision if carried else "fp32")
    library = load_library("tensorrt-rtx")
    for stage, graph in vars(Graphs.of_variant(variant)).items():
        model = graph.model if carried else made(graph.model, stage, precision, bundle)
        graph = Graph(graph.stage, model, graph.outputs)
        plan = build_plan(library, graph, plan_key(library, graph, EngineOptions(), CAPABILITIES), b"", lambda *_: None)
        assert set(plan.layers) <= {"fp32", precision}, (stage, plan.layers)
        # A carried int8 graph may have had all layers of one stage returned to fp32 by the gate, and a backbone of
        # statistics stays in fp32.
        whole = (carried and precision == "int8") or not weighted_layers(onnx.load_from_string(model).graph, stage)
        assert plan.layers.get(precision, 0) > 0 or whole, (stage, plan.layers)


def made(model: bytes, stage: str, precision: str, bundle: Bundle) -> bytes:
    """The fp32 graph of the bundle in another precision."""
    if precision == "fp16":
        return to_float16(model, stage, {}).model  # type: ignore[arg-type]
    framing = bundle.manifest.preprocessing.framing
    pixels = [framing.frame(open_image(path).image, None) for path in sorted(EXAMPLES.rglob("*.jpg"))]
    feeds: list[dict[str, np.ndarray]] = [{"image": looks} for looks in pixels]
    if stage == "attributor":
        encoder = open_engine("onnxruntime", Graphs.of_variant(bundle.variant("fp32")).latent_encoder)
        latents = [encoder.run(feed)["z0"] for feed in feeds]
        if bundle.manifest.attributor_input == "z_t":
            noising = Noising.of(bundle.manifest, bundle.noise_bank)
            latents = [noising(z0) for z0 in latents]
        shape = bundle.manifest.attributor_input_shape
        feeds = [{bundle.manifest.attributor_input: given.reshape(1, *shape)} for given in latents]
    quantiser = Quantiser(model, stage, iter(feeds), "minmax")  # type: ignore[arg-type]
    return quantiser.quantised(quantiser.layers)
