"""Prototypes of a few images: the means of clusters of their embeddings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array

STARTS, ITERATIONS = 5, 30
PER_PROTOTYPE = 5


def cluster_means(embedding: npt.NDArray[np.floating], count: int, seed: int = 0) -> Float64Array:
    """k-means: the means [count, D] of embeddings [n, D] with the least sum of squares of several starts.

    Written out, since scikit-learn is not part of an installation that only screens.
    """
    points = embedding.astype(np.float64)
    if count == 1:
        return np.asarray(points.mean(axis=0, keepdims=True))
    random = np.random.default_rng(seed)
    best, least = points[:count], np.inf
    for _ in range(STARTS):
        means = _spread_out(points, count, random)
        for _ in range(ITERATIONS):
            nearest = _squared(points, means).argmin(axis=1)
            moved = np.stack(
                [points[nearest == k].mean(axis=0) if (nearest == k).any() else means[k] for k in range(count)]
            )
            if np.array_equal(moved, means):
                break
            means = moved
        error = float(_squared(points, means).min(axis=1).sum())
        if error < least:
            best, least = means, error
    return best


def repeated(means: Float64Array, slots: int) -> Float64Array:
    """As many prototypes as a class of the bundle has: each mean equally often, so that none counts more.

    Args:
        means: [m, D], m a divisor of `slots`.
    """
    return np.repeat(means, slots // len(means), axis=0)


def prototype_count(images: int, slots: int) -> int:
    """How many different prototypes so many images give: the largest divisor of `slots` that leaves PER_PROTOTYPE
    images for each, and at least one."""
    fitting = [count for count in range(1, slots + 1) if slots % count == 0 and count * PER_PROTOTYPE <= images]
    return max(fitting, default=1)


def _spread_out(points: Float64Array, count: int, random: np.random.Generator) -> Float64Array:
    """k-means++: each start with a probability that grows with the squared distance from those before."""
    chosen = [points[random.integers(len(points))]]
    while len(chosen) < count:
        distance = _squared(points, np.stack(chosen)).min(axis=1)
        total = distance.sum()
        weights = distance / total if total > 0 else np.full(len(points), 1 / len(points))
        chosen.append(points[random.choice(len(points), p=weights)])
    return np.stack(chosen)


def _squared(points: Float64Array, means: Float64Array) -> Float64Array:
    return np.stack([np.square(points - mean).sum(axis=1) for mean in means], axis=1)
