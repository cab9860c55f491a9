"""The published conditioning of embeddings and of scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protoleak.diffusion import Float64Array
from protoleak.errors import CalibrationError

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


@dataclass(frozen=True)
class ScoreStandardisation:
    """The published z-score of class scores: by the scores that validation images get for their own generator.

    It makes scores comparable in scale, and not into probabilities: never show them as such.

    Attributes:
        mean, deviation: float64 [K].
    """

    mean: Float64Array
    deviation: Float64Array

    @classmethod
    def fit(cls, class_score: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> ScoreStandardisation:
        """From class scores [V, K] and labels [V] of validation images.

        Raises:
            CalibrationError: a generator has no validation image.
        """
        own = [class_score[labels == k, k].astype(np.float64) for k in range(class_score.shape[1])]
        if min(len(values) for values in own) == 0:
            missing = [k for k, values in enumerate(own) if len(values) == 0]
            raise CalibrationError(f"generators {missing} have no validation image: their scores have no scale")
        return cls(
            np.array([values.mean() for values in own]),
            np.maximum([values.std() for values in own], SMALLEST_DEVIATION),
        )

    def apply(self, class_score: npt.NDArray[np.floating]) -> Float64Array:
        """float64 [N, K]."""
        return np.asarray((class_score.astype(np.float64) - self.mean) / self.deviation)
