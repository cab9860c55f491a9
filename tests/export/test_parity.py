"""The parity gate: no bundle of graphs that compute something else than PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from protoleak.calibration.density import fit_density
from protoleak.calibration.heads import PrototypeHead
from protoleak.dataset import Dataset
from protoleak.errors import BundleError, DatasetError, ParityError
from protoleak.export import export as bundle_export
from protoleak.export.density_module import DensityModule
from protoleak.export.export import export_bundle
from protoleak.export.graphs import DeployedAttributor, export_attributor, export_latent_encoder
from protoleak.export.head_modules import HeadModule
from protoleak.export.manifest import describe
from protoleak.export.parity import compare_outputs, prove_parity
from protoleak.export.runner import VariantRunner
from protoleak.export.settings import ExportSettings
from protoleak.faces.framer import Framer
from protoleak.images.framing import Framing
from protoleak.model.checkpoint import TrainedModel
from tests.training.images import IMAGE_SIZE

FRAMER = Framer(Framing(image_size=IMAGE_SIZE))
REFERENCE = {"embedding": np.array([[1.0, -2.0]], dtype=np.float32), "gate": np.array([[0.5, 0.25]], dtype=np.float32)}


def test_differences_up_to_a_ten_thousandth_of_the_largest_value_pass_and_are_listed() -> None:
    changed = REFERENCE | {"embedding": np.array([[1.0001, -2.0]], dtype=np.float32)}
    rows = compare_outputs(REFERENCE, changed)
    assert [row.output for row in rows] == ["embedding", "gate"]
    assert rows[0].maximum == pytest.approx(1e-4, rel=0.01)  # float32 holds 1.0001 to 6e-8
    assert rows[0].relative == pytest.approx(0.5e-4, rel=0.01)
    assert rows[1].maximum == 0.0


def test_a_larger_difference_is_an_error_that_holds_the_table() -> None:
    changed = REFERENCE | {"embedding": np.array([[1.001, -2.0]], dtype=np.float32)}
    with pytest.raises(ParityError) as caught:
        compare_outputs(REFERENCE, changed)
    lines = str(caught.value).splitlines()
    assert "no bundle written" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["output", "embedding", "gate"]
    assert [line.endswith("fails") for line in lines[1:]] == [False, True, False]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"embedding": REFERENCE["embedding"]}, "gate is missing"),
        (REFERENCE | {"gate": np.zeros((1, 3))}, r"gate is of shape \(1, 3\), PyTorch gives \(1, 2\)"),
        (REFERENCE | {"gate": np.array([[np.nan, 0.25]])}, "gate is not finite in the exported graph"),
        (REFERENCE | {"gate": np.array([[0.5, -np.inf]])}, "gate is not finite in the exported graph"),
    ],
)
def test_an_output_that_cannot_be_compared_is_an_error_that_names_it(
    changed: dict[str, np.ndarray], words: str
) -> None:
    with pytest.raises(ParityError, match=words):
        compare_outputs(REFERENCE, changed)


def test_a_model_that_is_not_finite_is_blamed_itself() -> None:
    broken = REFERENCE | {"gate": np.array([[np.nan, 0.25]])}
    with pytest.raises(ParityError, match="gate is not finite in PyTorch"):
        compare_outputs(broken, broken)


def test_an_output_that_is_zero_throughout_must_stay_zero() -> None:
    zero = {"gate": np.zeros((2, 2), dtype=np.float32)}
    assert compare_outputs(zero, zero)[0].passes
    with pytest.raises(ParityError):
        compare_outputs(zero, {"gate": np.full((2, 2), 1e-6, dtype=np.float32)})


def scaled_weights(graph: bytes, factor: float) -> bytes:
    """The graph with the weights of its first convolution multiplied."""
    model = onnx.load_from_string(graph)
    name = next(node.input[1] for node in model.graph.node if node.op_type == "Conv")
    for tensor in model.graph.initializer:
        if tensor.name == name:
            values = numpy_helper.to_array(tensor) * np.float32(factor)
            tensor.CopyFrom(numpy_helper.from_array(values, name))
    return bytes(model.SerializeToString())


class Parts:
    """What `prove_parity` needs, from the small model."""

    def __init__(self, model: TrainedModel) -> None:
        size = model.config.attributor.embedding_size
        random = np.random.default_rng(0)
        vectors, gates = random.normal(size=(12, size)), random.uniform(size=(12, size))
        density = fit_density(vectors, gates, np.arange(12) % 3, vectors[:4] + 0.1, gates[:4])
        self.model = model
        self.deployed = DeployedAttributor(model.attributor, HeadModule(PrototypeHead()), DensityModule(density)).eval()
        self.manifest = describe(model, density, ExportSettings(), "small")
        self.latent_encoder = export_latent_encoder(model.latent_encoder, IMAGE_SIZE)
        channels = model.config.attributor.in_channels
        self.attributor = export_attributor(self.deployed, torch.zeros(2, 2, channels, 8, 8))

    def runner(self, latent_encoder: bytes, attributor: bytes) -> VariantRunner:
        return VariantRunner(self.manifest, self.model.config.noise_bank(), latent_encoder, attributor)


@pytest.fixture(scope="module")
def parts(model: TrainedModel) -> Parts:
    return Parts(model)


def test_sound_graphs_pass_at_every_stage(parts: Parts, dataset: Dataset) -> None:
    runner = parts.runner(parts.latent_encoder, parts.attributor)
    rows = prove_parity(parts.model, parts.deployed, runner, FRAMER, [sample.path for sample in dataset.calibration])
    assert {row.output for row in rows} >= {"z0", "z_t", "embedding", "class_score", "log_density"}
    assert all(row.passes for row in rows)


@pytest.mark.parametrize(("broken", "output"), [("latent_encoder", "z0"), ("attributor", "embedding")])
def test_a_graph_with_other_weights_is_an_error_that_names_its_outputs(
    broken: str, output: str, parts: Parts, dataset: Dataset
) -> None:
    graphs = {"latent_encoder": parts.latent_encoder, "attributor": parts.attributor}
    # One thousandth: ten times what is allowed, and far below what changes a verdict.
    graphs[broken] = scaled_weights(graphs[broken], 1.001)
    runner = parts.runner(**graphs)
    with pytest.raises(ParityError) as caught:
        prove_parity(parts.model, parts.deployed, runner, FRAMER, [sample.path for sample in dataset.calibration])
    failing = [line.split()[0] for line in str(caught.value).splitlines() if line.endswith("fails")]
    assert output in failing


def test_a_graph_whose_outputs_are_not_finite_is_an_error(parts: Parts, dataset: Dataset) -> None:
    runner = parts.runner(parts.latent_encoder, scaled_weights(parts.attributor, 3e38))
    with pytest.raises(ParityError, match=r"the attributor gave .* NaN or infinite.*no bundle written"):
        prove_parity(parts.model, parts.deployed, runner, FRAMER, [sample.path for sample in dataset.calibration])


def test_unreadable_images_are_passed_over_and_none_that_can_be_read_is_an_error(
    parts: Parts, dataset: Dataset, tmp_path: Path
) -> None:
    runner = parts.runner(parts.latent_encoder, parts.attributor)
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    assert prove_parity(parts.model, parts.deployed, runner, FRAMER, [bad, dataset.calibration[0].path])
    with pytest.raises(DatasetError, match="none of 1 calibration images can be read"):
        prove_parity(parts.model, parts.deployed, runner, FRAMER, [bad])


def test_nothing_is_written_where_parity_fails(
    model: TrainedModel, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(module: DeployedAttributor, example: torch.Tensor, opset: int) -> bytes:
        return scaled_weights(export_attributor(module, example, opset), 1.001)

    monkeypatch.setattr(bundle_export, "export_attributor", broken)
    with pytest.raises(ParityError, match="no bundle written"):
        export_bundle(model, dataset, tmp_path / "bundle", ExportSettings(name="small", computes=()))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_holds_something_else_is_refused_before_any_work(
    model: TrainedModel, dataset: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    seen: list[str] = []
    with pytest.raises(BundleError, match="not a bundle"):
        export_bundle(
            model, dataset, tmp_path, ExportSettings(name="small", computes=()), lambda stage, *_: seen.append(stage)
        )
    assert seen == []
