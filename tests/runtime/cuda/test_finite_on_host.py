"""The kernel that counts what is no number, built for the host, against NumPy."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

EXTREMES = [0.0, -0.0, 1e-8, -6e-8, 65504.0, -65504.0]  # subnormal halves, and the largest
BROKEN = [np.nan, -np.nan, np.inf, -np.inf]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 700), st.integers(0, 2**32 - 1))
def test_counts_are_those_of_numpy_for_every_image(
    host_finite: ctypes.CDLL, dtype: Any, images: int, size: int, seed: int
) -> None:
    values = np.random.default_rng(seed).choice([*EXTREMES, *BROKEN], (images, size)).astype(dtype)
    counts = np.full(images + 1, -7, np.int32)
    function = getattr(host_finite, f"count_broken_{np.dtype(dtype).name}")
    function(ctypes.c_void_p(values.ctypes.data), ctypes.c_void_p(counts.ctypes.data), size, images)
    np.testing.assert_array_equal(counts[:-1], (~np.isfinite(values)).sum(axis=1))
    assert counts[-1] == -7, "the kernel wrote behind its result"
