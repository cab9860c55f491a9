"""What `export` writes so that a generator can be added later, and that adding it gives an export's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from protoleak.bundle.bundle import Bundle
from protoleak.bundle.class_statistics import CLASS_STATISTICS, SOFTNESS, STEPS
from protoleak.bundle.enrolment import ENROLMENT, Additions, record_file
from protoleak.dataset import Dataset
from protoleak.enrolment.discriminant import class_means, fit_discriminant
from protoleak.enrolment.images import ImageRunner
from protoleak.errors import BundleError
from protoleak.export.export import export_bundle
from protoleak.export.settings import ExportSettings
from protoleak.faces.framer import Framer
from protoleak.model.checkpoint import TrainedModel
from protoleak.model.second_order import second_order_features
from protoleak.runtime.additions import extended_outputs, features_of
from protoleak.runtime.executors import ATTRIBUTOR_OUTPUTS

INSIDE = ("embedding", "gate", "class_score", "log_density")
# Two orders of the same sums in float32; a feature that lies between two steps may be rounded to either.
TOLERANCE = 2e-2


@pytest.fixture(scope="module")
def posterior(model: TrainedModel, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("posterior") / "bundle"
    export_bundle(model, dataset, out, ExportSettings(name="small", density_space="posterior", computes=()))
    return Bundle.load(out)


def test_record_holds_the_calibration_images_with_the_numbers_of_the_lists(posterior: Bundle, dataset: Dataset) -> None:
    record, calibration = posterior.enrolment.record("fp32"), posterior.variant("fp32").calibration
    assert record.labels.tolist() == [sample.label for sample in dataset.calibration]
    np.testing.assert_array_equal(np.sort(record.log_density.astype(np.float64)), calibration.overall)


def test_traces_are_of_the_latents_that_the_runtime_has(posterior: Bundle, dataset: Dataset) -> None:
    """The whitening is fitted to PyTorch's latents, and applied to those of the exported graph."""
    space = posterior.enrolment.traces()
    assert space is not None
    files = [sample.path for sample in dataset.train]
    labels = np.array([sample.label for sample in dataset.train])
    with ImageRunner(posterior, "onnxruntime", 1, traces=space) as runner:
        found = runner.run(files, "training images")
    assert found.traces is not None
    traces = found.traces.astype(np.float64)
    np.testing.assert_allclose(traces.mean(axis=0), 0, atol=0.05)
    means = np.stack([traces[labels == label].mean(axis=0) for label in range(3)])
    spread = traces - means[labels]
    assert np.linalg.eigvalsh(spread @ spread.T / len(traces)).max() < 1.1


def test_classes_have_the_statistics_of_the_training_images(posterior: Bundle, dataset: Dataset) -> None:
    statistics, record = posterior.enrolment.class_statistics(), posterior.enrolment.record("fp32")
    assert statistics.images == len(dataset.train)
    assert statistics.class_means.shape == (len(dataset.generators), record.features.shape[1])
    points = record.features.astype(float) / STEPS
    distances = np.square(points[:, None] - statistics.class_means.astype(float)).sum(axis=2)
    assert (distances.argmin(axis=1) == record.labels).mean() > 0.6


def test_class_in_the_graph_and_beside_it_have_the_same_numbers(
    posterior: Bundle, model: TrainedModel, dataset: Dataset
) -> None:
    """The graph that `export` would write if the class had been known from the start."""
    from protoleak.export.graphs import _quiet_exporter
    from protoleak.runtime.engines import Graph, open_engine

    statistics, constants = posterior.enrolment.class_statistics(), posterior.enrolment.score_constants()
    record = posterior.enrolment.record("fp32")
    discriminant = fit_discriminant(record.features[:6], statistics, class_means(statistics, ()))
    offset, network = 0.25, model.attributor

    class WithNewcomer(torch.nn.Module):
        def forward(self, z0: torch.Tensor, z_t: torch.Tensor) -> tuple[torch.Tensor, ...]:
            out = network(z_t)
            values = torch.cat([second_order_features(z0), out.embedding], dim=1)
            steps = (values - torch.from_numpy(statistics.mean)) / torch.from_numpy(statistics.deviation) * STEPS
            points = steps.round().clamp(-127, 127) / STEPS
            ratios = points @ torch.from_numpy(discriminant.weights).T - torch.from_numpy(discriminant.bias)
            odds = -SOFTNESS * torch.logsumexp(-ratios / SOFTNESS, dim=1) + offset
            difference = out.embedding[:, None, None] - network.auxiliary_prototypes
            auxiliary = network.class_score((out.gate[:, None, None] * difference.square()).sum(dim=-1))
            every = torch.logsumexp(torch.cat([out.class_score, auxiliary], dim=1), dim=1)
            score = torch.cat([out.class_score, (every + odds)[:, None]], dim=1)
            best = score.amax(dim=1)
            share = best - torch.logsumexp(torch.stack([every, every + odds]), dim=0)
            return out.embedding, out.gate, score, share + torch.clamp(best - constants.floor, max=0)

    config = model.config
    framer = Framer(config.framing)
    z0 = model.encode(np.concatenate([framer.file(sample.path) for sample in dataset.test[:6]]))
    z_t = config.noised(z0)
    with _quiet_exporter():
        program = torch.onnx.export(
            WithNewcomer().eval(),
            (torch.from_numpy(z0[:1]), torch.from_numpy(z_t[:1])),
            dynamo=True,
            input_names=["z0", "z_t"],
            output_names=["embedding", "gate", "class_score", "log_density"],
            verbose=False,
        )
    assert program is not None
    graph = Graph("attributor", program.model_proto.SerializeToString(), INSIDE)
    inside = open_engine("onnxruntime", graph, threads=1).run({"z0": z0, "z_t": z_t})
    known = Graph("attributor", posterior.variant("fp32").attributor, ATTRIBUTOR_OUTPUTS)
    outputs = open_engine("onnxruntime", known, threads=1).run({"z_t": z_t})
    prototypes = np.zeros((1, *posterior.prototypes.shape[1:]))
    additions = Additions(prototypes, (discriminant,), np.array([offset]), constants, statistics)
    beside = extended_outputs(outputs, features_of(z0, outputs["embedding"], statistics), additions)
    for name in INSIDE:
        np.testing.assert_allclose(beside[name], inside[name], atol=TOLERANCE, rtol=TOLERANCE, err_msg=name)


def test_other_densities_are_exported_without_a_record_and_say_what_to_do(
    model: TrainedModel, dataset: Dataset, tmp_path: Path
) -> None:
    export_bundle(model, dataset, tmp_path / "bundle", ExportSettings(name="small", computes=()))
    bundle = Bundle.load(tmp_path / "bundle")
    assert ENROLMENT not in bundle.manifest.files
    assert CLASS_STATISTICS not in bundle.manifest.files
    assert record_file("fp32") not in bundle.manifest.files
    with pytest.raises(BundleError, match="density-space posterior"):
        bundle.enrolment.score_constants()
    with pytest.raises(BundleError, match="density-space posterior"):
        bundle.enrolment.class_statistics()
