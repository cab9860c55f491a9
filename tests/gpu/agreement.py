"""Comparisons that are kept, so that a run can say how far a GPU was from the processor."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# What was compared → the largest absolute difference, and that over the largest magnitude that was expected.
DEVIATIONS: dict[str, tuple[float, float]] = {}


def agree(what: str, found: npt.ArrayLike, expected: npt.ArrayLike, *, rtol: float = 0.0, atol: float = 0.0) -> None:
    """As `np.testing.assert_allclose`, and keeps the largest deviation under a name."""
    one, other = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    largest = float(np.abs(one - other).max(initial=0.0))
    relative = largest / max(float(np.abs(other).max(initial=0.0)), 1e-12)
    before = DEVIATIONS.get(what, (0.0, 0.0))
    DEVIATIONS[what] = max(before[0], largest), max(before[1], relative)
    np.testing.assert_allclose(one, other, rtol=rtol, atol=atol, err_msg=what)
