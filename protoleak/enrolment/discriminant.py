"""A newcomer's discriminant: against each class that is named, the log-likelihood ratio of two normal distributions
with one covariance in common, that of the bundle's classes and of the newcomer's own images together.

Linear discriminant analysis with a shrunken covariance (Friedman 1989, "Regularized discriminant analysis"): in
thousands of features a few dozen images say nothing of a covariance of their own, and what tells the newcomer's mean
from the others' lies in the directions in which images of one class hardly differ.
"""

from __future__ import annotations

import numpy as np

from protoleak.arrays import Float64Array
from protoleak.bundle.class_statistics import (
    STEPS,
    ClassStatistics,
    Discriminant,
    FeatureArray,
    softened_minimum,
)

FURTHEST = 40.0  # log odds from the nearest class to the newcomer: a few images make nobody surer
RIDGE = 1.0  # added to the variance in every direction, in variances of a feature within classes


def class_means(statistics: ClassStatistics, enrolled: tuple[Discriminant, ...]) -> Float64Array:
    """Of all classes that are named so far, float64 [K, J]."""
    means = [statistics.class_means.astype(np.float64), *(one.mean.astype(np.float64)[None] for one in enrolled)]
    return np.concatenate(means)


def fit_discriminant(features: FeatureArray, statistics: ClassStatistics, means: Float64Array) -> Discriminant:
    """The discriminant of a class from features [n, J] of its images, with the scale 1.

    Args:
        means: of all classes that are named so far, [K, J].
    """
    points = features.astype(np.float64) / STEPS
    mean = points.mean(axis=0)
    images = statistics.images + len(points)
    own = (points - mean) / np.sqrt(images)
    factors = statistics.factors * np.sqrt(statistics.images / images)
    weights = _solved(np.concatenate([factors, own]), RIDGE + statistics.remainder, mean - means)
    bias = (weights * (mean + means) / 2).sum(axis=1)
    return Discriminant(
        mean.astype(np.float32),
        weights.astype(np.float32),
        bias.astype(np.float32),
        np.arange(len(means), dtype=np.int32),
        1.0,
    )


def scale_and_offset(discriminant: Discriminant, means: Float64Array, held_out: Float64Array) -> tuple[float, float]:
    """The log odds of two normal distributions of one variance, at the newcomer's held-out images and at the nearest
    class's mean: factor and offset, the latter for even odds half-way, on log odds with the scale 1.

    A camera original says nothing here, so that those of the record are exchangeable with any other when the offset is
    chosen on them.

    Args:
        means: as in `fit_discriminant`.
        held_out: log odds of images that the discriminant, or others like it, did not see.
    """
    own = float(held_out.mean())
    ratios = means @ discriminant.weights.astype(np.float64).T - discriminant.bias.astype(np.float64)
    nearest = float(softened_minimum(ratios).max())
    apart = max(own - nearest, 1e-9)
    scale = apart / max(float(held_out.var()), apart**2 / FURTHEST)
    return scale, -scale * (own + nearest) / 2


def _solved(factors: Float64Array, ridge: float, differences: Float64Array) -> Float64Array:
    """(Fᵀ F + ridge·1)⁻¹ d for each of the differences d [K, J], by Woodbury's identity: of F [R, J], R is small."""
    inner = factors @ factors.T + ridge * np.eye(len(factors))
    projected = np.linalg.solve(inner, factors @ differences.T)
    return np.asarray((differences - projected.T @ factors) / ridge)
