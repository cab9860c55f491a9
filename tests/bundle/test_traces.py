"""Traces are statistics that spread alike in every direction within classes."""

import numpy as np
import pytest

from protoleak.bundle.class_statistics import ClassStatistics
from protoleak.bundle.traces import LARGEST_STATISTIC, RIDGE, TraceSpace
from protoleak.calibration.class_statistics import fit_class_statistics

SIZE, EMBEDDING, CLASSES, EACH = 40, 6, 3, 400


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Statistics that spread along few directions far more than along others, embeddings, classes."""
    random = np.random.default_rng(seed)
    mixed = np.eye(SIZE) + 3 * random.standard_normal((SIZE, 4)) @ random.standard_normal((4, SIZE))
    labels = np.repeat(np.arange(CLASSES), EACH)
    means = 5 * random.standard_normal((CLASSES, SIZE))
    statistics = random.standard_normal((len(labels), SIZE)) @ mixed + means[labels]
    return statistics.astype(np.float32), random.standard_normal((len(labels), EMBEDDING)).astype(np.float32), labels


def test_the_spread_within_classes_is_level() -> None:
    statistics, embedding, labels = drawn(0)
    space = TraceSpace.of(fit_class_statistics(statistics, embedding, labels, CLASSES), EMBEDDING)
    traces = space(statistics).astype(np.float64)
    assert traces.shape == statistics.shape
    centred = traces - np.stack([traces[labels == label].mean(axis=0) for label in range(CLASSES)])[labels]
    variances = np.linalg.eigvalsh(centred.T @ centred / len(centred))
    before = (statistics - statistics.mean(axis=0)) / statistics.std(axis=0)
    assert np.linalg.eigvalsh(before.T @ before / len(before)).max() > 5
    assert variances.max() < 1.1
    assert variances[-4:].min() > 0.9  # those that the others were small beside


def test_what_lies_outside_counts_as_far_and_no_further() -> None:
    statistics, embedding, labels = drawn(1)
    space = TraceSpace.of(fit_class_statistics(statistics, embedding, labels, CLASSES), EMBEDDING)
    far = np.full((1, SIZE), 1e6, np.float32)
    edge = space.mean + LARGEST_STATISTIC * space.deviation
    np.testing.assert_allclose(space(far), space(edge[None]), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("rank", [0, 3])
def test_directions_without_variance_are_none(rank: int) -> None:
    factors = np.zeros((rank, SIZE + EMBEDDING))
    means = np.zeros((CLASSES, SIZE + EMBEDDING))
    ones = np.ones(SIZE + EMBEDDING, np.float32)
    space = TraceSpace.of(ClassStatistics.of(0 * ones, ones, means, factors, 1.0, 10), EMBEDDING)
    assert len(space.directions) == 0
    given = np.random.default_rng(2).standard_normal((5, SIZE)).astype(np.float32)
    np.testing.assert_allclose(space(given), given / np.sqrt(1 + RIDGE), rtol=1e-5)


def test_recorded_features_give_the_traces_of_their_statistics() -> None:
    statistics, embedding, labels = drawn(3)
    fitted = fit_class_statistics(statistics, embedding, labels, CLASSES)
    space = TraceSpace.of(fitted, EMBEDDING)
    recorded = space.of_features(fitted.features(statistics, embedding))
    assert recorded.shape == statistics.shape
    assert np.abs(recorded - space(statistics)).mean() < 0.15  # traces spread by 1; they were rounded in twelfths
