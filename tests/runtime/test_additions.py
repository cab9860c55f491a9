"""A class beside the graph has the numbers that it has in the graph, where it was known from the start."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from protoleak.bundle.enrolment import Additions, ScoreConstants
from protoleak.runtime.additions import extended_log_density, extended_outputs

# float32 outputs of magnitude 10 to 100 from two orders of the same sums
TOLERANCE = 2e-4
TEMPERATURE, FLOOR = 0.7, -9.0


@pytest.mark.parametrize("auxiliary", [0, 2])
def test_class_beside_the_graph_has_the_numbers_of_an_export_that_knew_it(auxiliary: int) -> None:
    torch = pytest.importorskip("torch", reason="the export's modules are PyTorch's")
    from protoleak.calibration.posterior import PosteriorDensity
    from protoleak.export.density_module import density_module

    random = np.random.default_rng(auxiliary)
    prototypes = random.normal(size=(5, 3, 8))
    others = random.normal(size=(auxiliary, 3, 8))
    embedding = (prototypes[random.integers(0, 5, 200), 0] + random.normal(size=(200, 8))).astype(np.float32)
    gate = random.uniform(0.2, 1, size=(200, 8)).astype(np.float32)

    def exported(named: np.ndarray) -> dict[str, np.ndarray]:
        difference = embedding[:, None, None, :] - named.astype(np.float32)
        distance = (gate[:, None, None, :] * difference**2).sum(axis=-1)
        density = PosteriorDensity(named, others, TEMPERATURE, FLOOR)
        with torch.inference_mode():
            log_density = density_module(density)(torch.from_numpy(embedding), torch.from_numpy(gate)).numpy()
        scores = density.scores(embedding, gate)[:, : len(named)].astype(np.float32)
        return {
            "embedding": embedding,
            "gate": gate,
            "prototype_distance": distance,
            "class_score": scores,
            "log_density": log_density,
        }

    additions = Additions(prototypes[3:], np.zeros(2), ScoreConstants(TEMPERATURE, FLOOR))
    beside, from_the_start = extended_outputs(exported(prototypes[:3]), additions), exported(prototypes)
    for name, expected in from_the_start.items():
        assert beside[name].dtype == expected.dtype
        np.testing.assert_allclose(beside[name], expected, atol=TOLERANCE, rtol=TOLERANCE, err_msg=name)


def test_graph_of_a_bundle_that_knew_the_class_gives_the_same(enrollable: Path) -> None:
    pytest.importorskip("onnx", reason="onnx makes the graphs")
    from protoleak.bundle.bundle import Bundle
    from protoleak.runtime.engines import Graph, open_engine
    from tests.conftest import FLOOR as TINY_FLOOR
    from tests.tiny_bundle import COMPONENTS, NAMES, attributor

    prototypes = Bundle.load(enrollable).prototypes
    new = np.random.default_rng(0).normal(size=(1, *prototypes.shape[1:])).astype(np.float32)
    z_t = np.random.default_rng(1).normal(size=(6, 2, 8, 8, 8)).astype(np.float32)

    def run(named: np.ndarray) -> dict[str, np.ndarray]:
        model = attributor(named, named[:, 0], 1, COMPONENTS, TINY_FLOOR)
        return open_engine("onnxruntime", Graph("attributor", model, tuple(NAMES)), threads=1).run({"z_t": z_t})

    additions = Additions(new.astype(np.float64), np.zeros(1), ScoreConstants(1.0, TINY_FLOOR))
    beside, inside = extended_outputs(run(prototypes), additions), run(np.concatenate([prototypes, new]))
    for name in NAMES:
        np.testing.assert_allclose(beside[name], inside[name], atol=TOLERANCE, rtol=TOLERANCE, err_msg=name)


def test_picture_far_from_the_new_class_keeps_its_log_density_exactly() -> None:
    scores, density = np.array([[1.0, -3.0]]), np.array([-0.018149927917809735])
    assert extended_log_density(scores, density, np.array([-800.0]), ScoreConstants(1.0, 0.0)) == density


def test_log_density_of_a_picture_that_was_far_from_everything_rises_with_its_own_class() -> None:
    scores = np.array([[-50.0, -60.0]])
    density = scores.max() - np.logaddexp(-50.0, -60.0) + np.array([-50.0 - FLOOR])
    after = extended_log_density(scores, density, np.array([-2.0]), ScoreConstants(1.0, FLOOR))
    assert density < -40
    assert after == pytest.approx(0.0, abs=1e-9)
