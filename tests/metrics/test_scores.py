"""Metrics of images that all weigh one."""

from __future__ import annotations

import numpy as np
import pytest

from protoleak.errors import CalibrationError
from protoleak.metrics import scores as metrics

LABELS = np.array([0, 0, 1, 1, 2, 2])


def test_raw_macro_auc_falls_where_scores_are_not_comparable_between_images_and_softmax_does_not() -> None:
    # Every image is attributed rightly, but hard images have lower scores for every generator.
    score = np.eye(3)[LABELS] - np.array([0, 5, 0, 5, 0, 5])[:, None]
    assert (score.argmax(axis=1) == LABELS).all()
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


def test_known_above_unknown_is_an_auroc_of_one_and_below_is_zero() -> None:
    low, high = np.array([0.0, 1.0]), np.array([2.0, 3.0])
    assert metrics.auroc_known_unknown(high, low) == 1.0
    assert metrics.auroc_known_unknown(low, high) == 0.0
    with pytest.raises(CalibrationError, match="0 unknown"):
        metrics.auroc_known_unknown(low, np.array([]))
