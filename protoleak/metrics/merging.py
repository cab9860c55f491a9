"""Many dependent p-values of one hypothesis, such as those of a track's faces, become one number.

**Merged p-value.** For a level a, the calibrator e_a(p) = (2/a)·max(0, 1 − p/a) turns a p-value into an e-value: its
expectation under the hypothesis is at most 1 (Vovk and Wang, "E-values: calibration, combination and applications",
Annals of Statistics 49, 2021). The mean of e-values is one whatever their dependence, so by Markov's inequality it
reaches 1/a with probability at most a. The least a at which it does is a p-value: the admissible improvement of twice
the mean (Vovk, Wang and Wang, "Admissible ways of merging p-values under arbitrary dependence", Annals of Statistics
50, 2022), never above it, and unlike it not undone by a few large p-values.

**When it may be read.** At a number of p-values that is set beforehand, whatever their dependence. At any time, such
as the first at which it is small enough, where the p-values are stationary: where a stretch of them is distributed
alike wherever it lies. Then the running mean of e_a reaches 1/a at any time with probability at most a (Hopf's maximal
ergodic inequality; for exchangeable ones Ramdas and Manole, "Randomized and exchangeable improvements of Markov's,
Chebyshev's and Chernoff's inequalities", Statistical Science 2025). Under any dependence at all a running mean
promises nothing of the kind: tests/metrics/test_merging.py has a sequence that reaches 1/a with probability 4.2a.

**E-value for any time.** A sum of e-values with weights that are set beforehand and sum to at most 1 only grows, and
its limit has an expectation of at most 1. So it reaches 1/a, at any time and under any dependence, with probability at
most a. Its price is that late faces weigh little.
"""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

DELAY = 4  # faces: with a larger one an e-value needs more of them, and is hurt less by one that says nothing


def merged_p_value(counts: Counter[float]) -> float:
    """The least a ≤ 1 at which the mean of e_a(p) reaches 1/a: the least S_j/(j − n/2) over j > n/2, where S_j is the
    sum of the j smallest of n. It is computed exactly, since p-values are ranks, which often equal their level.

    Args:
        counts: p-value in [0, 1] → how many of the n there are.

    Raises:
        ValueError: there is none, or one is NaN.
    """
    if not counts:
        raise ValueError("there is no p-value to merge")
    if any(math.isnan(p_value) for p_value in counts):
        raise ValueError("a p-value is NaN")
    half = Fraction(counts.total(), 2)
    smallest, total, least = 0, Fraction(0), Fraction(1)
    for p_value in sorted(counts):
        exact, last = Fraction(p_value), smallest + counts[p_value]
        # Within equal p-values the quotient rises or falls throughout, so the least is at one of the ends.
        first = max(smallest, math.floor(half)) + 1
        for count in {first, last}:
            if half < count <= last:
                least = min(least, (total + (count - smallest) * exact) / (count - half))
        total += counts[p_value] * exact
        smallest = last
    return float(least)


def e_value(p_value: float, level: float) -> float:
    """e_a(p) = (2/a)·max(0, 1 − p/a), of the level a > 0."""
    return 2 / level * max(0.0, 1 - p_value / level)


def weight(number: int) -> float:
    """Of the p-value with that number, from 1 on: (D + 1)/((t + D)(t + D + 1)). They sum to 1 over all numbers."""
    return (DELAY + 1) / ((number + DELAY) * (number + DELAY + 1))


class Merging:
    """p-values of one hypothesis as they come. There are no more different ones than ranks, so that the memory that it
    takes doesn't grow for ever.

    Args:
        level: a, at which the hypothesis is rejected.

    Attributes:
        e_value: the weighted sum so far; it never falls. At 1/a and more the hypothesis may be rejected at any time.
    """

    def __init__(self, level: float) -> None:
        self.level = level
        self.e_value = 0.0
        self._counts: Counter[float] = Counter()

    def add(self, p_value: float) -> None:
        """One more p-value."""
        self._counts[p_value] += 1
        self.e_value += weight(self._counts.total()) * e_value(p_value, self.level)

    @property
    def p_value(self) -> float:
        """All of them merged; 1 before the first."""
        return merged_p_value(self._counts) if self._counts else 1.0
