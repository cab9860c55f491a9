"""Ranking metrics of weighted images, for many weightings at once.

A bootstrap resample is a weighting: an image that was drawn twice weighs two. The scores are sorted once, and every
metric is computed for B weightings together, float64 [B, n] → [B]. A metric that a weighting leaves undefined (no
image of one side was drawn) is NaN; `intervals.Resamples` counts these and never lets one out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array

BoolArray = npt.NDArray[np.bool_]
ROUNDING = 1e-9  # of sums of weights: 0.95 · 20 is a little above 19 in floating point


@dataclass(frozen=True)
class Ranking:
    """How much of both sides lies at or above each different score, from the greatest score down, after a zero.

    Attributes:
        positive, negative: float64 [B, G + 1] for G different scores.
        correct: the same of the correctly attributed positives; equal to `positive` where that was not asked.
    """

    positive: Float64Array
    negative: Float64Array
    correct: Float64Array

    @classmethod
    def of(
        cls,
        score: npt.NDArray[np.floating],
        positive: BoolArray,
        weights: Float64Array,
        correct: BoolArray | None = None,
    ) -> Ranking:
        """Ranks images.

        Args:
            score: [n]; positives should have the greater ones. Infinities are allowed.
            positive: [n].
            weights: [B, n], ≥ 0.
            correct: [n], which positives are attributed rightly.
        """
        order = np.argsort(-score, kind="stable")
        ordered = score[order]
        last_of_ties = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))

        def above(which: BoolArray) -> Float64Array:
            summed = np.cumsum(weights[:, order] * which[order], axis=1)[:, last_of_ties]
            return np.concatenate([np.zeros((len(weights), 1)), summed], axis=1)

        first = above(positive)
        return cls(first, above(~positive), first if correct is None else above(positive & correct))

    @property
    def true_positive_rate(self) -> Float64Array:
        return _shares(self.positive, self.positive[:, -1:])

    @property
    def false_positive_rate(self) -> Float64Array:
        return _shares(self.negative, self.negative[:, -1:])

    def auroc(self) -> Float64Array:
        """Probability that a positive has a greater score than a negative; ties count half."""
        return _area(self.false_positive_rate, self.true_positive_rate)

    def average_precision(self) -> Float64Array:
        """Area under precision over recall as a sum of steps, Σ (R_g − R_{g−1}) P_g, as scikit-learn has it."""
        taken = self.positive[:, 1:] + self.negative[:, 1:]
        precision = np.divide(self.positive[:, 1:], taken, out=np.zeros_like(taken), where=taken > 0)
        area = np.asarray((np.diff(self.true_positive_rate, axis=1) * precision).sum(axis=1))
        return np.where(self.negative[:, -1] > 0, area, np.nan)

    def false_positive_rate_at(self, wanted: float) -> Float64Array:
        """Share of negatives at or above the greatest score at which that share of the positives is."""
        reached = self.true_positive_rate >= wanted - ROUNDING
        found = self.false_positive_rate[np.arange(len(reached)), reached.argmax(axis=1)]
        return np.where(self.positive[:, -1] > 0, found, np.nan)

    def equal_error_rate(self) -> Float64Array:
        """Where as many positives are missed as negatives taken, linear between neighbouring scores."""
        taken, missed = self.false_positive_rate, 1 - self.true_positive_rate
        row, last = np.arange(len(taken)), (taken >= missed).argmax(axis=1)
        before = np.maximum(last - 1, 0)
        gap_before = missed[row, before] - taken[row, before]
        gap_last = taken[row, last] - missed[row, last]
        steps = gap_before + gap_last
        share = np.divide(gap_before, steps, out=np.ones_like(steps), where=steps > 0)
        rate = taken[row, before] + share * (taken[row, last] - taken[row, before])
        defined = (self.positive[:, -1] > 0) & (self.negative[:, -1] > 0)
        return np.where(defined, rate, np.nan)

    def oscr(self) -> Float64Array:
        """Area under the open-set classification rate: the share of positives that are taken and rightly attributed,
        over the share of negatives that are taken (Dhamija, Günther and Boult, 2018)."""
        return _area(self.false_positive_rate, _shares(self.correct, self.positive[:, -1:]))


def class_aurocs(
    class_score: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], weights: Float64Array
) -> Float64Array:
    """One-vs-rest area under the ROC curve of each class, float64 [B, K]; NaN for a class without images, or with all.

    Args:
        class_score: [n, K].
        labels: int64 [n].
        weights: float64 [B, n].
    """
    columns = [
        Ranking.of(class_score[:, label], labels == label, weights).auroc() for label in range(class_score.shape[1])
    ]
    return np.stack(columns, axis=1)


def class_shares(labels: npt.NDArray[np.int64], right: BoolArray, weights: Float64Array) -> Float64Array:
    """Share of rightly attributed images of each class in `labels`, float64 [B, classes]; NaN without weight."""
    columns = []
    for label in np.unique(labels):
        own = weights[:, labels == label]
        columns.append(_shares((own * right[labels == label]).sum(axis=1), own.sum(axis=1)))
    return np.stack(columns, axis=1)


def unweighted(images: int) -> Float64Array:
    """The weighting of images that all weigh one: float64 [1, n]."""
    return np.ones((1, images))


def weighted_share(which: BoolArray, weights: Float64Array) -> Float64Array:
    """Share of the weight on images of which something holds, [B]; NaN without any weight."""
    return _shares((weights * which).sum(axis=1), weights.sum(axis=1))


def _shares(part: Float64Array, whole: Float64Array) -> Float64Array:
    whole = np.broadcast_to(whole, part.shape)
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))


def _area(across: Float64Array, up: Float64Array) -> Float64Array:
    """Under straight lines between points, [B, G + 1] each → [B]."""
    return np.asarray((np.diff(across, axis=1) * (up[:, 1:] + up[:, :-1]) / 2).sum(axis=1))
