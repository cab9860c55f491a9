"""Benjamini and Hochberg's procedure, against its definition and its promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protoleak.errors import ProtoleakError
from protoleak.metrics.false_discovery import PROCEDURE, benjamini_hochberg

P_VALUES = st.lists(st.floats(0, 1), max_size=60)
LEVELS = st.floats(0.001, 0.999)
# On a busy machine drawing sixty numbers may take seconds, which says nothing about the procedure.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def found(p_values: list[float], level: float) -> int:
    return benjamini_hochberg(p_values, level, "nothing").found


def test_the_example_of_the_paper() -> None:
    """Benjamini and Hochberg 1995, section 4: 15 comparisons, of which 4 are found at 0.05."""
    p_values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
    p_values += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
    result = benjamini_hochberg(p_values, 0.05, "no difference")
    assert (result.found, result.threshold, result.tests) == (4, 0.0095, 15)
    assert (result.procedure, result.hypothesis, result.level) == (PROCEDURE, "no difference", 0.05)


@PATIENT
@given(P_VALUES, LEVELS)
def test_the_definition(p_values: list[float], level: float) -> None:
    """The largest k of which k p-values are at most k·q/m, looked for in the plainest way."""
    tests, largest = len(p_values), 0
    for k in range(1, tests + 1):
        if sorted(p_values)[k - 1] <= k * (level / tests):
            largest = k
    result = benjamini_hochberg(p_values, level, "nothing")
    assert result.found == largest
    assert (result.threshold is None) == (largest == 0)
    if result.threshold is not None:
        assert sum(p <= result.threshold for p in p_values) == largest  # whoever has the threshold has the findings


def test_where_nothing_is_found_it_says_how_many_would_be() -> None:
    """A calibration of 26 images allows no smaller p-value than 1/27."""
    tests, smallest = 188, 1 / 27
    text = str(benjamini_hochberg([smallest] * 90 + [1.0] * 98, 0.05, "nothing"))
    assert text.endswith(": the smallest p-value is 0.03704, and 140 so small would be needed")
    assert found([smallest] * 139 + [1.0] * (tests - 139), 0.05) == 0
    assert found([smallest] * 140 + [1.0] * (tests - 140), 0.05) == 140
    assert "smallest" not in str(benjamini_hochberg([], 0.05, "nothing"))


@PATIENT
@given(P_VALUES, LEVELS, st.randoms())
def test_the_order_does_not_matter(p_values: list[float], level: float, random: object) -> None:
    shuffled = list(p_values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert benjamini_hochberg(shuffled, level, "x") == benjamini_hochberg(p_values, level, "x")


@PATIENT
@given(P_VALUES, LEVELS, LEVELS)
def test_a_higher_level_finds_no_less(p_values: list[float], one: float, other: float) -> None:
    assert found(p_values, min(one, other)) <= found(p_values, max(one, other))


@PATIENT
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), LEVELS, st.data())
def test_a_smaller_p_value_takes_nothing_away(p_values: list[float], level: float, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(p_values) - 1))
    smaller = [*p_values[:place], p_values[place] * data.draw(st.floats(0, 1)), *p_values[place + 1 :]]
    assert found(smaller, level) >= found(p_values, level)


@PATIENT
@given(P_VALUES, LEVELS)
def test_it_finds_at_least_as_much_as_bonferroni_and_at_most_what_each_test_would(
    p_values: list[float], level: float
) -> None:
    tests = max(len(p_values), 1)
    assert sum(p <= level / tests for p in p_values) <= found(p_values, level) <= sum(p <= level for p in p_values)


def test_ranks_among_the_same_calibration_images_keep_the_promise() -> None:
    """300 corpora of 200 images, of which 150 are as the calibration images and 50 are not: with conformal p-values the
    mean share of false findings stays at q·150/200. It is known to 0.01, three standard errors of the mean."""
    random = np.random.default_rng(5)
    level, shares, powers = 0.2, [], []
    for _ in range(300):
        calibration = np.sort(random.normal(size=400))
        scores = np.concatenate([random.normal(size=150), random.normal(-3, 1, 50)])
        p_values = (1 + np.searchsorted(calibration, scores, side="right")) / 401
        threshold = benjamini_hochberg(p_values, level, "as the calibration images").threshold or 0.0
        false = int((p_values[:150] <= threshold).sum())
        true = int((p_values[150:] <= threshold).sum())
        shares.append(false / max(false + true, 1))
        powers.append(true / 50)
    assert np.mean(shares) <= level * 0.75 + 0.01
    assert np.mean(powers) > 0.6  # it does find what differs


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_level_outside_its_limits_is_named(level: float) -> None:
    with pytest.raises(ProtoleakError, match=r"a false discovery rate of .*: give a number between 0 and 1"):
        benjamini_hochberg([0.5], level, "x")


@pytest.mark.parametrize("p_values", [[0.1, -0.1], [1.1], [float("nan"), 0.2]])
def test_what_is_no_p_value_is_refused(p_values: list[float]) -> None:
    with pytest.raises(ProtoleakError, match=r"each has to be in \[0, 1\]"):
        benjamini_hochberg(p_values, 0.1, "x")
