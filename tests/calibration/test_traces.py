"""The whitening of statistics: within classes they are spread alike in every direction, whatever they were before."""

from __future__ import annotations

import numpy as np
import pytest

from protoleak.bundle.traces import TraceSpace
from protoleak.calibration import traces as fitting
from protoleak.calibration.traces import RIDGE, fit_trace_space


def pictures(count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Statistics [n, 6] of two classes that differ in one direction and are spread far more along another one."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % 2
    mixing = np.linalg.qr(random.normal(size=(6, 6)))[0]
    values = random.normal(size=(count, 6)) * (20, 1, 1, 1, 1, 0.2)
    values[:, 5] += labels
    return (values @ mixing).astype(np.float32), labels


def within(space: TraceSpace, statistics: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The covariance of traces within classes."""
    traces = space(statistics).astype(np.float64)
    for label in (0, 1):
        traces[labels == label] -= traces[labels == label].mean(axis=0)
    return np.asarray(traces.T @ traces / len(traces))


def test_within_classes_all_directions_are_spread_alike() -> None:
    statistics, labels = pictures()
    values = np.linalg.eigvalsh(within(fit_trace_space(statistics, labels, 1), statistics, labels))
    # The ridge leaves a direction that held little of the variance, relative to RIDGE, with less.
    assert values.max() <= 1.01
    assert np.count_nonzero(values > 0.5) >= 3


def test_classes_that_differ_where_little_is_spread_lie_apart() -> None:
    statistics, labels = pictures()

    def apart(values: np.ndarray) -> float:
        between = values[labels == 1].mean(axis=0) - values[labels == 0].mean(axis=0)
        spread = values - np.where(labels[:, None] == 1, values[labels == 1].mean(0), values[labels == 0].mean(0))
        return float(np.square(between).sum() / np.square(spread).sum(axis=1).mean())

    assert apart(fit_trace_space(statistics, labels, 1)(statistics)) > 10 * apart(statistics)


def test_directions_beyond_those_that_are_kept_are_levelled(monkeypatch: pytest.MonkeyPatch) -> None:
    statistics, labels = pictures()
    everything = fit_trace_space(statistics, labels, 1)
    monkeypatch.setattr(fitting, "DIRECTIONS", 2)
    fewer = fit_trace_space(statistics, labels, 1)
    assert (everything.directions.shape, fewer.directions.shape) == ((1, 6, 6), (1, 6, 2))
    np.testing.assert_allclose(fewer.stretch[0], everything.stretch[0, :2], rtol=1e-4)
    level = (1 / np.square(everything.stretch[0, 2:]) - RIDGE).mean()
    assert fewer.rest[0] == pytest.approx(1 / np.sqrt(level + RIDGE), rel=1e-3)
