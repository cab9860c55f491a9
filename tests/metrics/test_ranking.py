"""Weighted ranking metrics against their definitions, and against scikit-learn's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protoleak.metrics.ranking import Ranking, class_aurocs, class_shares, weighted_share

FloatArray = npt.NDArray[np.float64]


def ones(count: int) -> FloatArray:
    return np.ones((1, count))


@st.composite
def weighted(draw: st.DrawFn) -> tuple[FloatArray, npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Scores with many ties, both sides present, and how often each image was drawn (both sides at least once)."""
    count = draw(st.integers(2, 40))
    score = np.array(draw(st.lists(st.integers(-4, 4), min_size=count, max_size=count)), dtype=np.float64)
    positive = np.array([True, False, *draw(st.lists(st.booleans(), min_size=count - 2, max_size=count - 2))])
    drawn = np.array([1, 1, *draw(st.lists(st.integers(0, 3), min_size=count - 2, max_size=count - 2))])
    return score, positive, drawn


@settings(max_examples=100, deadline=None)
@given(weighted())
def test_a_weight_is_as_good_as_that_many_copies_and_agrees_with_scikit_learn(
    case: tuple[FloatArray, npt.NDArray[np.bool_], npt.NDArray[np.int64]],
) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    score, positive, drawn = case
    ranking = Ranking.of(score, positive, drawn[None].astype(np.float64))
    copied, is_positive = np.repeat(score, drawn), np.repeat(positive, drawn)
    assert ranking.auroc()[0] == pytest.approx(sklearn.roc_auc_score(is_positive, copied), abs=1e-12)
    precision = sklearn.average_precision_score(is_positive, copied)
    assert ranking.average_precision()[0] == pytest.approx(precision, abs=1e-12)
    expected = Ranking.of(copied, is_positive, ones(len(copied))).false_positive_rate_at(0.95)[0]
    assert ranking.false_positive_rate_at(0.95)[0] == pytest.approx(expected, abs=1e-12)


def test_the_false_positive_rate_is_taken_where_95_percent_of_the_known_are_accepted() -> None:
    known, unknown = np.arange(20.0), np.array([0.0, 0.9, 1.0, 5.0])  # 19 of 20 known are accepted from 1 on
    ranking = Ranking.of(np.concatenate([known, unknown]), np.arange(24) < 20, ones(24))
    assert ranking.false_positive_rate_at(0.95)[0] == 0.5


@settings(max_examples=100, deadline=None)
@given(weighted())
def test_many_weightings_at_once_are_each_one_alone(
    case: tuple[FloatArray, npt.NDArray[np.bool_], npt.NDArray[np.int64]],
) -> None:
    score, positive, drawn = case
    weights = np.stack([drawn, np.ones_like(drawn)]).astype(np.float64)
    both = Ranking.of(score, positive, weights)
    for row in range(2):
        alone = Ranking.of(score, positive, weights[row : row + 1])
        for metric in ("auroc", "average_precision", "equal_error_rate", "oscr"):
            assert getattr(both, metric)()[row] == getattr(alone, metric)()[0]


@settings(max_examples=100, deadline=None)
@given(weighted())
def test_at_the_equal_error_rate_as_many_are_missed_as_taken(
    case: tuple[FloatArray, npt.NDArray[np.bool_], npt.NDArray[np.int64]],
) -> None:
    score, positive, drawn = case
    ranking = Ranking.of(score, positive, drawn[None].astype(np.float64))
    rate = ranking.equal_error_rate()[0]
    taken, caught = ranking.false_positive_rate[0], ranking.true_positive_rate[0]
    # A point (rate, 1 - rate) lies on a line between neighbouring points of the curve.
    distances = [
        abs((b_up - a_up) * (rate - a_across) - (b_across - a_across) * (1 - rate - a_up))
        for a_across, b_across, a_up, b_up in zip(taken, taken[1:], caught, caught[1:], strict=False)
        if min(a_across, b_across) - 1e-9 <= rate <= max(a_across, b_across) + 1e-9
    ]
    assert min(distances) < 1e-9


@pytest.mark.parametrize(
    ("score", "rate"),
    [([2.0, 1.0, 0.0, -1.0], 0.0), ([-1.0, 0.0, 1.0, 2.0], 1.0), ([1.0, 0.0, 1.0, 0.0], 0.5)],
)
def test_the_equal_error_rate_of_perfect_reversed_and_useless_scores(score: list[float], rate: float) -> None:
    positive = np.array([True, True, False, False])
    assert Ranking.of(np.array(score), positive, ones(4)).equal_error_rate()[0] == pytest.approx(rate)


def test_the_open_set_classification_rate_counts_only_known_images_that_are_attributed_rightly() -> None:
    score = np.array([4.0, 3.0, 2.0, 1.0])  # known above unknown, so the curve stands at the accuracy
    positive, right = np.array([True, True, False, False]), np.array([True, False, False, False])
    assert Ranking.of(score, positive, ones(4), right).oscr()[0] == pytest.approx(0.5)
    assert Ranking.of(score, positive, ones(4)).oscr()[0] == pytest.approx(1.0)


def test_the_open_set_classification_rate_of_mixed_scores_is_the_area_by_hand() -> None:
    # From the top: a known one that is wrong, an unknown one, a known one that is right, an unknown one.
    score = np.array([4.0, 2.0, 3.0, 1.0])
    positive, right = np.array([True, True, False, False]), np.array([False, True, False, False])
    # CCR is 0 up to FPR 0.5 and 0.5 from there on.
    assert Ranking.of(score, positive, ones(4), right).oscr()[0] == pytest.approx(0.25)


@pytest.mark.parametrize("side", [True, False])
def test_with_one_side_alone_nothing_is_defined(side: bool) -> None:
    ranking = Ranking.of(np.arange(3.0), np.full(3, side), ones(3))
    for found in (ranking.auroc(), ranking.average_precision(), ranking.equal_error_rate(), ranking.oscr()):
        assert np.isnan(found).all()
    assert np.isnan(ranking.false_positive_rate_at(0.95)).all()


def test_infinite_scores_are_ranked_too() -> None:
    score = np.array([np.inf, 0.0, -np.inf])
    assert Ranking.of(score, np.array([True, True, False]), ones(3)).auroc()[0] == 1.0


def test_shares_are_weighted_and_undefined_without_weight() -> None:
    labels, right = np.array([0, 0, 1]), np.array([True, False, True])
    weights = np.array([[1.0, 3.0, 1.0], [1.0, 1.0, 0.0]])
    np.testing.assert_array_equal(class_shares(labels, right, weights), [[0.25, 1.0], [0.5, np.nan]])
    np.testing.assert_array_equal(weighted_share(right, weights), [0.4, 0.5])


def test_each_class_has_its_auc_against_the_rest_and_none_without_images() -> None:
    labels = np.array([0, 0, 1, 1])
    score = np.array([[3.0, 0.0, 1.0], [2.0, 2.0, 1.0], [1.0, 1.0, 1.0], [2.5, 3.0, 1.0]])
    np.testing.assert_array_equal(class_aurocs(score, labels, ones(4)), [[0.75, 0.75, np.nan]])
