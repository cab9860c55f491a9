"""Merged p-values and e-values, against their definitions and their promises.

An exact p-value with N outcomes that are equally likely is a permutation of 1/N … N/N, one value per outcome. Several
permutations are p-values with a joint distribution of any kind, and a promise about probabilities is one about counts
of outcomes: no sampling, no tolerance.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protoleak.metrics.merging import DELAY, Merging, e_value, merged_p_value, weight

LEVELS = st.floats(0.005, 0.999)
P_VALUES = st.lists(st.integers(1, 200).map(lambda rank: rank / 200), min_size=1, max_size=40)
ROUNDING = 1 + 1e-9  # of sums in float64


def merged(p_values: Sequence[float]) -> float:
    return merged_p_value(Counter(p_values))


@st.composite
def joint(draw: st.DrawFn) -> list[list[float]]:
    """[outcomes][faces]: p-values with any dependence that permutations can have."""
    outcomes, faces = draw(st.integers(2, 24)), draw(st.integers(1, 8))
    ranks = st.permutations(range(1, outcomes + 1))
    columns = [draw(ranks) for _ in range(faces)]
    return [[column[outcome] / outcomes for column in columns] for outcome in range(outcomes)]


@settings(deadline=None)
@given(P_VALUES)
def test_the_merged_p_value_is_the_least_quotient(p_values: list[float]) -> None:
    """Its definition, in the plainest way: over more than half of the p-values, the smallest ones."""
    exact, half = sorted(Fraction(p) for p in p_values), Fraction(len(p_values), 2)
    quotients = [sum(exact[:j]) / (j - half) for j in range(1, len(exact) + 1) if j > half]
    assert merged(p_values) == float(min([Fraction(1), *quotients]))


@settings(deadline=None)
@given(P_VALUES, LEVELS)
def test_it_is_at_most_a_where_the_mean_e_value_reaches_one_over_a(p_values: list[float], level: float) -> None:
    mean = sum(max(Fraction(0), 1 - Fraction(p) / Fraction(level)) for p in p_values) * 2 / len(p_values)
    if mean >= 1:
        assert merged(p_values) <= level
    elif mean < Fraction(999_999, 1_000_000):  # else the float64 of the merged p-value may be the level itself
        assert merged(p_values) > level


@settings(deadline=None)
@given(P_VALUES)
def test_it_is_never_above_twice_the_mean_and_never_below_the_smallest(p_values: list[float]) -> None:
    assert min(p_values) <= merged(p_values) <= min(1.0, 2 * np.mean(p_values)) * ROUNDING


@settings(deadline=None)
@given(P_VALUES, st.data())
def test_a_smaller_p_value_never_raises_it_and_the_order_does_not_matter(
    p_values: list[float], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(p_values) - 1))
    smaller = [*p_values[:place], p_values[place] / 2, *p_values[place + 1 :]]
    assert merged(smaller) <= merged(p_values)
    assert merged(data.draw(st.permutations(p_values))) == merged(p_values)


def test_one_face_that_says_nothing_does_not_undo_nine_that_say_much() -> None:
    p_values = [0.001] * 9 + [1.0]
    assert merged(p_values) == pytest.approx(0.009 / 4)
    assert 2 * np.mean(p_values) > 0.2


@settings(deadline=None, max_examples=50)
@given(joint(), LEVELS)
def test_the_merged_p_value_keeps_its_level_under_any_dependence(outcomes: list[list[float]], level: float) -> None:
    rejected = sum(merged(faces) <= level for faces in outcomes)
    assert rejected <= level * len(outcomes) * ROUNDING


@settings(deadline=None, max_examples=50)
@given(joint(), LEVELS)
def test_the_e_value_keeps_the_level_at_any_time_and_under_any_dependence(
    outcomes: list[list[float]], level: float
) -> None:
    rejected = 0
    for faces in outcomes:
        merging, ever = Merging(level), False
        for p_value in faces:
            merging.add(p_value)
            ever = ever or merging.e_value >= ROUNDING / level
        rejected += ever
    assert rejected <= level * len(outcomes) * ROUNDING


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 16).flatmap(lambda n: st.permutations(range(1, n + 1))), st.integers(1, 10), LEVELS)
def test_of_stationary_faces_the_merged_p_value_may_be_read_at_any_time(
    ranks: list[int], faces: int, level: float
) -> None:
    """Ranks in a circle, read from a place that is drawn evenly: a stretch is distributed alike wherever it lies."""
    circle = [rank / len(ranks) for rank in ranks]
    rejected = 0
    for start in range(len(circle)):
        read = [circle[(start + face) % len(circle)] for face in range(faces)]
        rejected += any(merged(read[:count]) <= level for count in range(1, faces + 1))
    assert rejected <= level * len(circle) * ROUNDING


def test_under_any_dependence_a_running_mean_may_not_be_read_at_any_time() -> None:
    """Six blocks of faces, each seven times as long as all before it. In each, another stretch of 0.7 % of the
    outcomes takes turns at the smallest ranks, so that all of it is rejected at the end of the block: at a level of 1
    %, 4.2 %."""
    outcomes, level, stretch = 10_000, 0.01, 70
    rejected, totals, faces = set[int](), np.zeros(outcomes), 0
    for block in range(6):
        ranks = np.roll(np.arange(1, outcomes + 1), block * stretch)
        of_one_face = np.array([e_value(rank / outcomes, level) for rank in ranks])
        turning = slice(block * stretch, (block + 1) * stretch)
        of_one_face[turning] = of_one_face[turning].mean()  # over as many faces as the stretch has outcomes
        length = max(stretch, 7 * faces)
        totals += length * of_one_face
        faces += length
        rejected |= set(np.flatnonzero(totals / faces >= 1 / level).tolist())
    assert len(rejected) == 6 * stretch


@settings(deadline=None)
@given(LEVELS)
def test_the_calibrator_is_one(level: float) -> None:
    """Its mean over a uniform p-value is at most 1; a midpoint sum of a convex function is below its integral."""
    p_values = (np.arange(4000) + 0.5) / 4000
    mean = np.mean([e_value(p, level) for p in p_values])
    assert mean <= 1 + 1e-6
    if level <= 1:
        assert mean == pytest.approx(1, abs=0.01)


def test_weights_sum_to_one_and_five_faces_without_doubt_are_enough() -> None:
    assert sum(weight(number) for number in range(1, 10_000)) == pytest.approx(1, abs=1e-3)
    merging = Merging(0.01)
    for _ in range(DELAY):
        merging.add(0.0)
        assert merging.e_value < 100
    merging.add(0.0)
    assert merging.e_value == pytest.approx(100)


@pytest.mark.parametrize(("counts", "named"), [(Counter(), "no p-value"), (Counter([math.nan]), "NaN")])
def test_what_cannot_be_merged_is_named(counts: Counter[float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        merged_p_value(counts)


def test_before_the_first_p_value_nothing_is_rejected() -> None:
    assert (Merging(0.05).p_value, Merging(0.05).e_value) == (1.0, 0.0)
