"""traces.npz: what is written is read again, and what isn't it is refused."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from protoleak.bundle.traces import TraceSpace
from protoleak.errors import BundleError

LOOKS, FEATURES, COUNT = 2, 30, 5


def space() -> TraceSpace:
    random = np.random.default_rng(0)
    directions = np.stack([np.linalg.qr(random.normal(size=(FEATURES, COUNT)))[0] for _ in range(LOOKS)])
    return TraceSpace(
        random.normal(size=(LOOKS, FEATURES)).astype(np.float32),
        np.full((LOOKS, FEATURES), 0.5, np.float32),
        directions.astype(np.float16),
        random.uniform(1, 3, (LOOKS, COUNT)).astype(np.float32),
        np.array([0.5, 0.7], np.float32),
    )


def test_what_is_written_is_read_again() -> None:
    given = space()
    read = TraceSpace.from_bytes(given.to_bytes(), "traces.npz", LOOKS, FEATURES)
    for name, values in vars(given).items():
        np.testing.assert_array_equal(getattr(read, name), values)


def test_traces_stretch_each_direction_by_its_own_and_the_rest_alike() -> None:
    given = space()
    statistics = np.random.default_rng(1).normal(size=(4, LOOKS, FEATURES)).astype(np.float32)
    traces = given(statistics.reshape(4, -1)).reshape(4, LOOKS, FEATURES)
    for look in range(LOOKS):
        vectors = given.directions[look].astype(np.float64)
        standardised = (statistics[:, look] - given.mean[look]) * 0.5
        along = standardised @ vectors
        across = standardised - along @ vectors.T
        expected = (along * given.stretch[look]) @ vectors.T + given.rest[look] * across
        np.testing.assert_allclose(traces[:, look], expected, atol=1e-2)


def test_statistics_far_out_are_held() -> None:
    far = np.full((1, LOOKS * FEATURES), 1e6, np.float32)
    np.testing.assert_array_equal(space()(far), space()(far * 2))


@pytest.mark.parametrize(
    "change",
    [{"mean": None}, {"rest": np.array([np.nan, 1], np.float32)}, {"stretch": np.ones((LOOKS, 4), np.float32)}],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    arrays = {name: values for name, values in (vars(space()) | change).items() if values is not None}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with pytest.raises(BundleError, match="that is needed"):
        TraceSpace.from_bytes(buffer.getvalue(), "traces.npz", LOOKS, FEATURES)
