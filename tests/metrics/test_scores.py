import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protoleak.errors import CalibrationError
from protoleak.metrics import scores as metrics

LABELS = np.array([0, 0, 1, 1, 2, 2])


def test_raw_macro_auc_falls_where_scores_are_not_comparable_between_images_and_softmax_does_not() -> None:
    # Every image is attributed rightly, but hard images have lower scores for every generator.
    score = np.eye(3)[LABELS] - np.array([0, 5, 0, 5, 0, 5])[:, None]
    assert metrics.accuracy(LABELS, score) == 1.0
    assert metrics.macro_auc(LABELS, score) < 1.0
    assert metrics.macro_auc_softmax(LABELS, score) == 1.0


def test_the_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    score = np.random.default_rng(0).normal(size=(6, 3)).round(1)
    for k, found in enumerate(metrics.auc_per_generator(LABELS, score)):
        own, other = score[k == LABELS, k], score[k != LABELS, k]
        pairs = [(a > b) + 0.5 * (a == b) for a in own for b in other]
        assert found == pytest.approx(np.mean(pairs))


def test_an_auc_without_images_of_a_generator_is_refused() -> None:
    with pytest.raises(CalibrationError, match=r"\[2, 2, 0\] per generator"):
        metrics.macro_auc(LABELS[:4], np.zeros((4, 3)))


def test_balanced_accuracy_counts_generators_alike() -> None:
    labels = np.array([0, 0, 0, 1])
    score = np.tile([1.0, 0.0], (4, 1))
    assert metrics.accuracy(labels, score) == 0.75
    assert metrics.balanced_accuracy(labels, score) == 0.5


def test_known_above_unknown_is_an_auroc_of_one_and_below_is_zero() -> None:
    low, high = np.array([0.0, 1.0]), np.array([2.0, 3.0])
    assert metrics.auroc_known_unknown(high, low) == 1.0
    assert metrics.auroc_known_unknown(low, high) == 0.0
    with pytest.raises(CalibrationError, match="0 unknown"):
        metrics.auroc_known_unknown(low, np.array([]))


def test_the_false_positive_rate_is_taken_where_95_percent_of_the_known_are_accepted() -> None:
    known = np.arange(20.0)  # 19 of 20 are accepted from 1 on
    assert metrics.false_positive_rate_at_95(known, np.array([0.0, 0.9, 1.0, 5.0])) == 0.5


def test_the_softmax_of_huge_scores_is_finite() -> None:
    np.testing.assert_allclose(metrics.softmax(np.array([[1e5, 0.0], [-1e5, -1e5]])), [[1, 0], [0.5, 0.5]])


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_interval_holds_its_proportion_and_mirrors(case: tuple[int, int]) -> None:
    successes, trials = case
    low, high = metrics.wilson_interval(successes, trials)
    assert 0.0 <= low <= successes / trials <= high <= 1.0
    mirrored = metrics.wilson_interval(trials - successes, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low))


def test_the_wilson_interval_equals_scipys() -> None:
    binomtest = pytest.importorskip("scipy.stats").binomtest
    expected = binomtest(2, 40).proportion_ci(method="wilson")
    assert metrics.wilson_interval(2, 40) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert metrics.wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="3 of 2"):
        metrics.wilson_interval(3, 2)


def test_the_closed_set_report_names_raw_and_softmax_apart() -> None:
    report = metrics.closed_set(LABELS, np.eye(3)[LABELS], ("a", "b", "c"))
    assert report["macro_auc"] == report["macro_auc_softmax"] == report["accuracy"] == 1.0
    assert report["auc_per_generator"] == {"a": 1.0, "b": 1.0, "c": 1.0}
