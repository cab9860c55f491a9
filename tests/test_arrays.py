"""What several stages compute of arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protoleak.arrays import softmax


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9), st.floats(1e-3, 1e3))
def test_softmax_is_a_distribution_with_the_order_of_the_scores(scores: list[float], temperature: float) -> None:
    shares = softmax(np.array(scores), temperature)
    assert shares.sum() == pytest.approx(1)
    assert (shares >= 0).all()
    assert shares[int(np.argmax(scores))] == shares.max()


def test_the_softmax_of_huge_scores_is_finite() -> None:
    np.testing.assert_allclose(softmax(np.array([[1e5, 0.0], [-1e5, -1e5]])), [[1, 0], [0.5, 0.5]])
