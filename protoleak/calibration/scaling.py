"""The published conditioning of embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array

SMALLEST_DEVIATION = 1e-6
SMALLEST_VARIANCE = 1e-3
SHRINKAGE = 0.05


@dataclass(frozen=True)
class Standardisation:
    """(x − mean) / deviation per feature, over all training embeddings.

    Attributes:
        mean, deviation: float64 [D]; the deviation is the biased one, at least 1e-6.
    """

    mean: Float64Array
    deviation: Float64Array

    @classmethod
    def fit(cls, embedding: Float64Array) -> Standardisation:
        return cls(embedding.mean(axis=0), np.maximum(embedding.std(axis=0), SMALLEST_DEVIATION))

    def apply(self, embedding: npt.NDArray[np.floating]) -> Float64Array:
        """float64 [N, D]."""
        return np.asarray((embedding.astype(np.float64) - self.mean) / self.deviation)


def shrink_variances(variances: Float64Array) -> Float64Array:
    """Variances [G, D] floored, shrunk 5 % to the median over the G groups, and floored again at 1e-3.

    The median of an even number is the lower of the middle two, as `torch.median` has it.
    """
    floored = np.maximum(variances, SMALLEST_VARIANCE)
    median = np.sort(floored, axis=0)[(len(floored) - 1) // 2]
    return np.asarray(np.maximum((1 - SHRINKAGE) * floored + SHRINKAGE * median, SMALLEST_VARIANCE))
