"""Benjamini and Hochberg's procedure: of many p-values, which may be called findings when few findings may be false?

With m p-values in ascending order p(1) ≤ … ≤ p(m), the largest k with p(k) ≤ k·q/m is sought, and every p-value up to
p(k) is a finding. The expected share of false findings among all findings is then at most q (Benjamini and Hochberg,
Controlling the false discovery rate, Journal of the Royal Statistical Society B 57, 1995), for independent p-values and
for those that depend positively on one another (Benjamini and Yekutieli, 2001). Conformal p-values, which are ranks
among the same calibration images, do depend on one another in that way (Bates, Candès, Lei, Romano and Sesia, Testing
for outliers with conformal p-values, Annals of Statistics 51, 2023).
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from protoleak.errors import ProtoleakError

PROCEDURE = "Benjamini–Hochberg"
NOT_REAL = "a camera took this"
NOT_KNOWN = "made by something that the bundle knows"


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
        smallest: the smallest p-value; None without any.
    """

    procedure: str
    hypothesis: str
    level: float
    tests: int
    found: int
    threshold: float | None
    smallest: float | None

    def __str__(self) -> str:
        where = "" if self.threshold is None else f", where p ≤ {self.threshold:.4g}"
        if self.smallest is not None and self.threshold is None:
            needed = math.ceil(round(self.smallest * self.tests / self.level, 9))
            # A conformal p-value is no smaller than 1/(n + 1): more calibration images are the remedy.
            where = f": the smallest p-value is {self.smallest:.4g}, and {needed} so small would be needed"
        return f"{self.found} of {self.tests} at a false discovery rate of {self.level:g} ({self.procedure}){where}"


class FalseDiscoveryControl(msgspec.Struct, frozen=True, kw_only=True):
    """Findings among the p-values of all faces that can be judged at all.

    A single verdict's α bounds how often one image is judged wrongly; among a million images that is a lot of images.
    Here the expected share of wrong ones among the findings is bounded.

    Attributes:
        not_real: of `real_p_value`: unlike the camera originals of the calibration. None for bundles without them.
        not_known: of `p_value`: unlike everything that the bundle knows.
    """

    not_real: Discoveries | None
    not_known: Discoveries


def false_discovery_control(
    p_values: npt.ArrayLike, real_p_values: npt.ArrayLike, level: float
) -> FalseDiscoveryControl:
    """The procedure over both p-values of all faces that can be judged at all.

    Args:
        p_values, real_p_values: [m], of the same faces; NaN where a bundle has no camera originals.
        level: q, in (0, 1), of each.

    Raises:
        ProtoleakError: the level is outside its limits.
    """
    of_all, of_real = (np.asarray(values, dtype=np.float64).ravel() for values in (p_values, real_p_values))
    real = of_real[~np.isnan(of_real)]
    has_real = not len(of_all) or len(real) > 0
    return FalseDiscoveryControl(
        not_real=benjamini_hochberg(real, level, NOT_REAL) if has_real else None,
        not_known=benjamini_hochberg(of_all, level, NOT_KNOWN),
    )


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
        smallest=float(ascending[0]) if tests else None,
    )


def check_level(level: float) -> None:
    """Raises ProtoleakError unless 0 < level < 1."""
    if not 0.0 < level < 1.0:
        raise ProtoleakError(f"a false discovery rate of {level:g}: give a number between 0 and 1, like 0.05")
