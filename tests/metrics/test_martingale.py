"""Smoothed conformal p-values and the martingale that bets on them, against their definitions and their promises."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protoleak.metrics.martingale import CELLS, SimpleJumper, SmoothedRanks, cell

# What float16 holds as it is, with ties, a zero of either sign and infinities.
FLOATS16 = st.integers(-200, 200).map(lambda eighths: eighths / 8) | st.sampled_from(
    [-0.0, math.inf, -math.inf, 2.0**-24]
)


def wealth(p_values: list[float]) -> float:
    jumper = SimpleJumper()
    for p_value in p_values:
        jumper.bet(p_value)
    return math.exp(jumper.log_wealth)


@settings(deadline=None, max_examples=50)
@given(st.lists(FLOATS16, max_size=30), st.lists(FLOATS16, min_size=1, max_size=30), st.floats(0, 1))
def test_a_p_value_is_the_share_below_and_a_drawn_share_of_the_ties(
    reference: list[float], stream: list[float], theta: float
) -> None:
    ranks, known = SmoothedRanks(reference), list(reference)
    for score in stream:
        known.append(score)
        below, equal = sum(one < score for one in known), sum(one == score for one in known)
        assert ranks.p_value(score, theta) == pytest.approx((below + theta * equal) / len(known))
    assert ranks.count == len(known)


def test_a_long_stream_is_counted_as_a_short_one() -> None:
    random = np.random.default_rng(1)
    scores = random.normal(size=3000).astype(np.float16).astype(float)
    ranks = SmoothedRanks(scores[:100])
    found = [ranks.p_value(score, 0.5) for score in scores[100:]]
    last = scores[-1]
    assert found[-1] == pytest.approx(((scores < last).sum() + 0.5 * (scores == last).sum()) / 3000)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=6), st.integers(0, 3))
def test_of_exchangeable_scores_the_expected_wealth_is_one_whatever_the_ties(scores: list[int], reference: int) -> None:
    """Over every order of the scores, and over θ: bets are linear in each p-value and p-values are in θ, so that the
    expectation over the drawn θ is the value at their means, 1/2."""
    reference = min(reference, len(scores) - 1)
    found = []
    for order in itertools.permutations(scores):
        ranks = SmoothedRanks(order[:reference])
        found.append(wealth([ranks.p_value(score, 0.5) for score in order[reference:]]))
    assert np.mean(found) == pytest.approx(1)


def test_ever_growing_a_hundredfold_by_chance_is_rarer_than_one_in_a_hundred() -> None:
    """150 exchangeable streams of 150 scores after 60: Ville allows 1.5 on average; 7 and more would be a chance of
    0.1 %. benchmarks/drift.py measures the rate."""
    alarms = 0
    for seed in range(150):
        random = np.random.default_rng(seed)
        scores = np.round(random.normal(size=210), 1)  # with ties
        ranks, jumper, ever = SmoothedRanks(scores[:60]), SimpleJumper(), False
        for score in scores[60:]:
            jumper.bet(ranks.p_value(score, random.random()))
            ever = ever or jumper.log_wealth >= math.log(100)
        alarms += ever
    assert alarms < 7


def test_ranks_among_a_fixed_reference_would_break_the_promise() -> None:
    """Which is why the reference grows: after 2,000 scores of the same kind, most references of 60 are convicted of
    being a sample."""
    alarms = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        reference, jumper = np.sort(random.normal(size=60)), SimpleJumper()
        for score in random.normal(size=2000):
            jumper.bet((np.searchsorted(reference, score) + random.random()) / 61)
            if jumper.log_wealth >= math.log(100):
                alarms += 1
                break
    assert alarms >= 5


@pytest.mark.parametrize("shift", [-1.5, 1.5])
def test_scores_that_have_moved_are_found_in_both_directions(shift: float) -> None:
    random = np.random.default_rng(3)
    ranks, jumper = SmoothedRanks(random.normal(size=200)), SimpleJumper()
    for score in random.normal(shift, 1, size=100):
        jumper.bet(ranks.p_value(score, random.random()))
    assert jumper.log_wealth > math.log(100)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=50))
def test_wealth_stays_above_nothing(p_values: list[float]) -> None:
    assert wealth(p_values) > 0


def test_evidence_without_end_does_not_overflow() -> None:
    jumper = SimpleJumper()
    for _ in range(5000):
        jumper.bet(0.0)
    assert math.log(1.9) * 4900 < jumper.log_wealth < math.log(2) * 5000


@settings(deadline=None)
@given(FLOATS16, FLOATS16)
def test_cells_are_in_the_order_of_their_values(one: float, other: float) -> None:
    assert 0 <= cell(one) < CELLS
    if one < other:
        assert cell(one) < cell(other)
    if one == other:
        assert cell(one) == cell(other)


def test_scores_beyond_all_bounds_are_ties_and_nan_is_refused() -> None:
    assert cell(-1e300) == cell(-math.inf) < cell(-6e4)
    assert cell(1e300) == cell(math.inf) > cell(6e4)
    with pytest.raises(ValueError, match="NaN"):
        cell(math.nan)
