"""The statistics of latents are those that the backbone `second_order` is trained on."""

from __future__ import annotations

import numpy as np
import pytest

from protoleak.bundle.traces import statistics_count
from protoleak.runtime.traces import statistics_of


def test_they_are_those_of_the_backbone() -> None:
    torch = pytest.importorskip("torch", reason="the backbone is PyTorch's")
    from protoleak.model.second_order import second_order_features

    z0 = np.random.default_rng(0).normal(2, 3, (5, 6, 9, 8)).astype(np.float32)
    found = statistics_of(z0)
    assert found.shape == (5, statistics_count(6))
    np.testing.assert_allclose(found, second_order_features(torch.from_numpy(z0)).numpy(), rtol=1e-3, atol=1e-4)


def test_what_is_where_does_not_matter() -> None:
    z0 = np.random.default_rng(1).normal(size=(1, 4, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(statistics_of(z0), statistics_of(z0[:, :, ::-1, ::-1]), rtol=1e-4, atol=1e-5)
