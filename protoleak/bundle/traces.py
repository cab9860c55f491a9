"""What tells generators apart that a bundle doesn't know: its latents' statistics, whitened within the known classes.

The statistics (`latent_statistics`) vary most with scenes and cameras, and least where generators differ. Divided by
how far they spread *within* the classes of the training, in every direction, both count alike; an unknown generator's
images then lie together (docs/decisions/0034-discovery.md). The spread is that of `class_statistics`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protoleak.arrays import Float32Array
from protoleak.bundle.class_statistics import STEPS, ClassStatistics, FeatureArray

RIDGE = 0.05  # of the variance of a feature within classes: directions that hold less of it are not blown up
LARGEST_STATISTIC = 10.0  # standard deviations: what lies beyond says "unusual" as loudly as it should
SMALLEST_SHARE = 1e-6  # of a direction's variance: below it, the direction is none


@dataclass(frozen=True)
class TraceSpace:
    """The whitening of F statistics of L looks, with m directions in which it isn't the same everywhere.

    Attributes:
        mean, deviation: float32 [L·F]: by which statistics are standardised.
        directions: float32 [m, L·F], orthonormal.
        stretch: float32 [m], of each direction.
        rest: of all that is orthogonal to them.
    """

    mean: Float32Array
    deviation: Float32Array
    directions: Float32Array
    stretch: Float32Array
    rest: float

    @classmethod
    def of(cls, statistics: ClassStatistics, embedding_size: int) -> TraceSpace:
        """By (Fᵀ F + (remainder + RIDGE)·1)^(-1/2), F being the statistics' part of the factors.

        Args:
            embedding_size: D, of the features that are no statistics.
        """
        size = len(statistics.mean) - embedding_size
        factors = statistics.factors[:, :size]
        variances, vectors = np.linalg.eigh(factors @ factors.T)
        held = variances > SMALLEST_SHARE * variances.max(initial=SMALLEST_SHARE)
        variances, vectors = variances[held], vectors[:, held]
        directions = vectors.T @ factors / np.sqrt(variances)[:, None]
        level = statistics.remainder + RIDGE
        return cls(
            statistics.mean[:size],
            statistics.deviation[:size],
            directions.astype(np.float32),
            (1 / np.sqrt(variances + level)).astype(np.float32),
            float(1 / np.sqrt(level)),
        )

    def __call__(self, statistics: Float32Array) -> Float32Array:
        """Statistics float32 [n, L·F] → the traces, of the same shape."""
        return self._whitened((statistics - self.mean) / self.deviation)

    def of_features(self, features: FeatureArray) -> Float32Array:
        """The traces [n, L·F] of recorded features int8 [n, J], see `class_statistics`."""
        return self._whitened(features[:, : len(self.mean)].astype(np.float32) / np.float32(STEPS))

    def _whitened(self, standardised: Float32Array) -> Float32Array:
        standardised = np.clip(standardised, -LARGEST_STATISTIC, LARGEST_STATISTIC)
        along = (standardised @ self.directions.T) * (self.stretch - np.float32(self.rest))
        return np.asarray(np.float32(self.rest) * standardised + along @ self.directions, np.float32)
