"""Wilson's interval, and intervals over resampled source images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protoleak.metrics.intervals import Resamples, wilson_interval
from protoleak.metrics.ranking import weighted_share


def names(count: int) -> list[str]:
    return [f"{index:04d}" for index in range(count)]


def test_images_of_one_source_are_drawn_together() -> None:
    sources = ["a", "b", "a", "c", "b", "a"]
    seen = []
    Resamples(sources, 50, 1).estimate(sources, lambda weights: (seen.append(weights), weights.sum(axis=1))[1], "")
    weights = np.concatenate(seen[1:])
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 0], weights[:, 5])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(axis=1), np.full(50, 3))  # three sources are drawn of three
    assert len(np.unique(weights, axis=0)) > 1


def test_the_same_seed_draws_the_same_and_another_one_something_else() -> None:
    which = np.random.default_rng(0).random(40) < 0.3
    first, same, other = (Resamples(names(40), 300, seed).share(names(40), which) for seed in (1, 1, 2))
    assert first == same
    assert first.over_sources_95 != other.over_sources_95
    assert first.interval_95 == other.interval_95


def test_copies_of_a_source_do_not_narrow_the_interval() -> None:
    which = np.random.default_rng(0).random(60) < 0.4
    alone = Resamples(names(60), 500, 0).share(names(60), which)
    copied = Resamples(names(60) * 10, 500, 0).share(names(60) * 10, np.tile(which, 10))
    assert copied.over_sources_95 == pytest.approx(alone.over_sources_95)
    # Wilson's interval takes them for independent images, and is narrower than it may be.
    assert copied.interval_95[1] - copied.interval_95[0] < 0.5 * (alone.interval_95[1] - alone.interval_95[0])


def test_the_interval_of_a_mean_covers_the_truth_about_as_often_as_it_says() -> None:
    random, covered, runs = np.random.default_rng(3), 0, 200
    for run in range(runs):
        which = random.random(80) < 0.3
        low, high = Resamples(names(80), 400, run).share(names(80), which).over_sources_95 or (1.0, 0.0)
        covered += low <= 0.3 <= high
    # 95 % of 200, with four standard errors of √(0.95 · 0.05 / 200) = 1.5 % and the bootstrap's own shortfall
    assert covered / runs > 0.87


def test_what_is_undefined_has_no_number_but_a_reason() -> None:
    resamples = Resamples(names(5), 100, 0)
    nothing = resamples.estimate([], lambda weights: weighted_share(np.zeros(0, bool), weights), "no image of it")
    assert (nothing.value, nothing.interval_95, nothing.missing) == (None, None, "no image of it")
    share = resamples.share([], np.zeros(0, dtype=bool))
    assert (share.count, share.of, share.share, share.interval_95) == (0, 0, None, (0.0, 1.0))


def test_an_interval_that_resamples_leave_undefined_too_often_is_not_given() -> None:
    sources, chosen = names(10), np.arange(10) == 0  # the one image is missing from a third of the resamples

    def metric(weights: np.ndarray) -> np.ndarray:
        return np.where(weights[:, 0] > 0, 1.0, np.nan)

    found = Resamples(sources, 300, 0).estimate(sources, metric, "none of it")
    assert found.value == 1.0
    assert found.interval_95 is None
    assert found.missing is not None
    assert "of 300 resamples: too few sources" in found.missing
    assert chosen.sum() == 1


def test_without_resamples_there_are_values_of_images_of_any_source_and_no_intervals() -> None:
    found = Resamples.none().estimate(["a", "b"], lambda weights: weights.mean(axis=1), "")
    assert (found.value, found.interval_95, found.missing) == (1.0, None, None)
    found = Resamples(names(10), 0, 0).share(names(10), np.arange(10) < 3)
    assert (found.count, found.of, found.share, found.over_sources_95) == (3, 10, 0.3, None)


def test_many_images_are_taken_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    which = np.arange(50) % 3 == 0
    whole = Resamples(names(50), 100, 0).share(names(50), which)
    monkeypatch.setattr("protoleak.metrics.intervals.CHUNK_ELEMENTS", 170)
    assert Resamples(names(50), 100, 0).share(names(50), which) == whole


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_interval_holds_its_proportion_and_mirrors(case: tuple[int, int]) -> None:
    successes, trials = case
    low, high = wilson_interval(successes, trials)
    assert 0.0 <= low <= successes / trials <= high <= 1.0
    mirrored = wilson_interval(trials - successes, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low))


def test_the_wilson_interval_equals_scipys() -> None:
    binomtest = pytest.importorskip("scipy.stats").binomtest
    expected = binomtest(2, 40).proportion_ci(method="wilson")
    assert wilson_interval(2, 40) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="3 of 2"):
        wilson_interval(3, 2)
