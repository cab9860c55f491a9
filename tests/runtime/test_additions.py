"""A class beside the graph has the numbers that it has in the graph, where it was known from the start."""

from __future__ import annotations

import numpy as np
import pytest

from protoleak.bundle.class_statistics import STEPS, ClassStatistics, Discriminant
from protoleak.bundle.enrolment import Additions, ScoreConstants
from protoleak.runtime.additions import extended_log_density, extended_outputs, sum_of_scores

# float32 outputs of magnitude 10 to 100 from two orders of the same sums
TOLERANCE = 2e-4
TEMPERATURE, FLOOR = 0.7, -9.0
CONSTANTS = ScoreConstants(TEMPERATURE, FLOOR)
FEATURES = 12


def random_discriminant(seed: int, rivals: int) -> Discriminant:
    random = np.random.default_rng(seed)
    weights = random.normal(size=(rivals, FEATURES)).astype(np.float32)
    bias, mean = random.normal(size=rivals).astype(np.float32), random.normal(size=FEATURES).astype(np.float32)
    return Discriminant(mean, weights, bias, np.arange(rivals, dtype=np.int32), 0.3)


def plain_statistics() -> ClassStatistics:
    ones, nothing = np.ones(FEATURES, np.float32), np.zeros((0, FEATURES))
    return ClassStatistics.of(0 * ones, ones, nothing, nothing, 1.0, 10)


def test_the_sum_over_all_classes_follows_from_what_a_levelled_graph_gives() -> None:
    pytest.importorskip("scipy", reason="the export fits densities with SciPy")
    from protoleak.calibration.posterior import PosteriorDensity

    random = np.random.default_rng(6)
    prototypes, others = random.normal(size=(4, 3, 8)), random.normal(size=(2, 3, 8))
    embedding, gate = random.normal(size=(50, 8)), random.uniform(0.2, 1, size=(50, 8))
    density = PosteriorDensity(prototypes, others, TEMPERATURE, FLOOR, levelled=5)
    scores = density.scores(embedding, gate)
    found = sum_of_scores(scores[:, :4], density.log_density(embedding, gate), CONSTANTS)
    np.testing.assert_allclose(found, np.logaddexp.reduce(scores, axis=1))


@pytest.mark.parametrize("auxiliary", [0, 2])
def test_log_density_is_that_of_an_export_that_knew_the_class(auxiliary: int) -> None:
    torch = pytest.importorskip("torch", reason="the export's modules are PyTorch's")
    from protoleak.calibration.posterior import PosteriorDensity
    from protoleak.export.density_module import density_module

    random = np.random.default_rng(auxiliary)
    prototypes = random.normal(size=(5, 3, 8))
    others = random.normal(size=(auxiliary, 3, 8))
    embedding = (prototypes[random.integers(0, 5, 200), 0] + random.normal(size=(200, 8))).astype(np.float32)
    gate = random.uniform(0.2, 1, size=(200, 8)).astype(np.float32)

    def exported(named: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        density = PosteriorDensity(named, others, TEMPERATURE, FLOOR)
        with torch.inference_mode():
            found = density_module(density)(torch.from_numpy(embedding), torch.from_numpy(gate)).numpy()
        return density.scores(embedding, gate)[:, : len(named)], found

    _, log_density = exported(prototypes[:3])
    of_both, expected = exported(prototypes)
    for new in (3, 4):
        log_density = extended_log_density(of_both[:, :new], log_density, of_both[:, new], CONSTANTS)
    np.testing.assert_allclose(log_density, expected, atol=TOLERANCE, rtol=TOLERANCE)


def test_outputs_hold_the_enrolled_classes_behind_the_others_each_against_those_before_it() -> None:
    random = np.random.default_rng(4)
    scores = random.normal(-5, 3, size=(50, 3)).astype(np.float32)
    log_density = (scores.max(axis=1) - np.logaddexp.reduce(scores, axis=1)).astype(np.float32)
    log_density += np.minimum(scores.max(axis=1) - FLOOR, 0).astype(np.float32)
    outputs = {
        "embedding": random.normal(size=(50, 8)).astype(np.float32),
        "gate": np.ones((50, 8), np.float32),
        "prototype_distance": random.uniform(size=(50, 3, 2)).astype(np.float32),
        "class_score": scores,
        "log_density": log_density,
    }
    discriminants = random_discriminant(1, 3), random_discriminant(2, 4)
    prototypes = random.normal(size=(2, 2, 8))
    features = random.integers(-127, 128, (50, FEATURES)).astype(np.int8)
    offsets = np.array([0.5, -1.0])
    additions = Additions(prototypes, discriminants, offsets, CONSTANTS, plain_statistics())
    found = extended_outputs(outputs, features, additions)
    every = np.logaddexp.reduce(scores.astype(float), axis=1)
    for place, (one, offset) in enumerate(zip(discriminants, offsets, strict=True), 3):
        ratios = features / STEPS @ one.weights.T.astype(float) - one.bias
        odds = 0.3 * -20 * np.logaddexp.reduce(-ratios / 20, axis=1) + offset
        np.testing.assert_allclose(found["class_score"][:, place], every + odds, atol=TOLERANCE, rtol=TOLERANCE)
        every = np.logaddexp(every, every + odds)
    best = found["class_score"].max(axis=1)
    expected = best - every + np.minimum(best - FLOOR, 0)
    np.testing.assert_allclose(found["log_density"], expected, atol=TOLERANCE, rtol=TOLERANCE)
    assert found["prototype_distance"].shape == (50, 5, 2)
    assert found["prototype_distance"].dtype == found["class_score"].dtype == found["log_density"].dtype == np.float32


def test_image_far_from_the_new_class_keeps_its_log_density_exactly() -> None:
    scores, density = np.array([[1.0, -3.0]]), np.array([-0.018149927917809735])
    assert extended_log_density(scores, density, np.array([-800.0]), ScoreConstants(1.0, 0.0)) == density


def test_log_density_of_an_image_that_was_far_from_everything_rises_with_its_own_class() -> None:
    scores = np.array([[-50.0, -60.0]])
    density = scores.max() - np.logaddexp(-50.0, -60.0) + np.array([-50.0 - FLOOR])
    assert sum_of_scores(scores, density, CONSTANTS) == pytest.approx(np.logaddexp(-50.0, -60.0))
    after = extended_log_density(scores, density, np.array([-2.0]), ScoreConstants(1.0, FLOOR))
    assert density < -40
    assert after == pytest.approx(0.0, abs=1e-9)
