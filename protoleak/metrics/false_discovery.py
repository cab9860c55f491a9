"""Benjamini and Hochberg's procedure: of many p-values, which may be called findings when few findings may be false?

With m p-values in ascending order p(1) ≤ … ≤ p(m), the largest k with p(k) ≤ k·q/m is sought, and every p-value up to
p(k) is a finding. The expected share of false findings among all findings is then at most q (Benjamini and Hochberg,
Controlling the false discovery rate, Journal of the Royal Statistical Society B 57, 1995), for independent p-values and
for those that depend positively on one another (Benjamini and Yekutieli, 2001). Conformal p-values, which are ranks
among the same calibration images, do depend on one another in that way (Bates, Candès, Lei, Romano and Sesia, Testing
for outliers with conformal p-values, Annals of Statistics 51, 2023).
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from protoleak.errors import ProtoleakError

PROCEDURE = "Benjamini–Hochberg"


class Discoveries(msgspec.Struct, frozen=True, kw_only=True):
    """What the procedure finds among p-values.

    Attributes:
        procedure: its name.
        hypothesis: what is rejected of a finding, such as "a camera took this".
        level: q, the expected share of false findings that is allowed.
        tests: m, how many p-values there are.
        found: how many are findings.
        threshold: the largest p-value that is a finding: a test is one where its p-value is at most this. None where
            nothing is found.
    """

    procedure: str
    hypothesis: str
    level: float
    tests: int
    found: int
    threshold: float | None


def benjamini_hochberg(p_values: npt.ArrayLike, level: float, hypothesis: str) -> Discoveries:
    """Applies the procedure.

    Args:
        p_values: [m], in any order, each in [0, 1].
        level: q, in (0, 1).
        hypothesis: what is rejected of a finding.

    Raises:
        ProtoleakError: the level or a p-value is outside its limits.
    """
    check_level(level)
    ascending = np.sort(np.asarray(p_values, dtype=np.float64).ravel())
    tests = len(ascending)
    if tests and not (ascending[0] >= 0 and ascending[-1] <= 1):  # NaN sorts last, and fails the comparison
        raise ProtoleakError(f"p-values from {ascending[0]:g} to {ascending[-1]:g}: each has to be in [0, 1]")
    passed = np.flatnonzero(ascending <= np.arange(1, tests + 1) * (level / tests)) if tests else np.zeros(0, np.intp)
    found = int(passed[-1]) + 1 if len(passed) else 0
    return Discoveries(
        procedure=PROCEDURE,
        hypothesis=hypothesis,
        level=level,
        tests=tests,
        found=found,
        threshold=float(ascending[found - 1]) if found else None,
    )


def check_level(level: float) -> None:
    """Raises ProtoleakError unless 0 < level < 1."""
    if not 0.0 < level < 1.0:
        raise ProtoleakError(f"a false discovery rate of {level:g}: give a number between 0 and 1, like 0.05")
