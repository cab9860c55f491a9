"""What `export` writes so that a generator can be added later, and that adding it gives an export's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from protoleak.bundle.bundle import Bundle
from protoleak.bundle.enrolment import ENROLMENT, Additions, record_file
from protoleak.calibration.posterior import PosteriorDensity
from protoleak.dataset import Dataset
from protoleak.errors import BundleError
from protoleak.export.export import ExportSettings, export_bundle
from protoleak.model.checkpoint import TrainedModel
from protoleak.runtime.additions import class_score, extended_log_density, prototype_distances

# The record's embeddings are float16: 5e-4 of a feature, over the sixteen of them.
TOLERANCE = 2e-2


@pytest.fixture(scope="module")
def posterior(model: TrainedModel, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("posterior") / "bundle"
    export_bundle(model, dataset, out, ExportSettings(name="small", density_space="posterior", computes=()))
    return Bundle.load(out)


def test_record_holds_the_calibration_images_with_the_numbers_of_the_lists(posterior: Bundle, dataset: Dataset) -> None:
    record, calibration = posterior.record("fp32"), posterior.variant("fp32").calibration
    assert record.labels.tolist() == [sample.label for sample in dataset.calibration]
    np.testing.assert_array_equal(np.sort(record.log_density.astype(np.float64)), calibration.overall)


def test_scores_beside_the_graph_are_the_graphs_own(posterior: Bundle) -> None:
    """The prototypes of a class that is in the graph, taken for an enrolled one."""
    record, constants = posterior.record("fp32"), posterior.score_constants()
    for index, prototypes in enumerate(posterior.prototypes.astype(np.float64)):
        distances = prototype_distances(prototypes, record.embedding, record.gate)
        scores = class_score(distances, constants.temperature)
        np.testing.assert_allclose(scores, record.class_score[:, index], atol=TOLERANCE, rtol=TOLERANCE)


def test_class_that_is_added_has_the_numbers_of_an_export_that_knew_it(posterior: Bundle, model: TrainedModel) -> None:
    record, constants = posterior.record("fp32"), posterior.score_constants()
    new = np.random.default_rng(2).normal(size=(1, *posterior.prototypes.shape[1:]))
    known = PosteriorDensity(
        np.concatenate([posterior.prototypes, new]),
        model.attributor.auxiliary_prototypes.numpy().astype(np.float64),
        constants.temperature,
        constants.floor,
    )
    additions = Additions(new, np.zeros(1), constants)
    scores = class_score(prototype_distances(additions.prototypes[0], record.embedding, record.gate), known.temperature)
    density = extended_log_density(record.class_score, record.log_density, scores, constants)
    expected = known.log_density(record.embedding, record.gate)
    np.testing.assert_allclose(density, expected, atol=TOLERANCE, rtol=TOLERANCE)


def test_other_densities_are_exported_without_a_record_and_say_what_to_do(
    model: TrainedModel, dataset: Dataset, tmp_path: Path
) -> None:
    export_bundle(model, dataset, tmp_path / "bundle", ExportSettings(name="small", computes=()))
    bundle = Bundle.load(tmp_path / "bundle")
    assert ENROLMENT not in bundle.manifest.files
    assert record_file("fp32") not in bundle.manifest.files
    with pytest.raises(BundleError, match="density-space posterior"):
        bundle.score_constants()
