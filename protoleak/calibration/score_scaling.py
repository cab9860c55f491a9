"""The two published rescalings of class scores, for comparison with published results.

Neither makes probabilities, and nothing that is shown as one comes from here: see `calibration.temperature`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array
from protoleak.errors import CalibrationError
from protoleak.metrics.scores import softmax

SMALLEST_DEVIATION = 1e-6
ADAM_STEPS, ADAM_RATE, ADAM_DECAYS, ADAM_EPSILON = 200, 0.01, (0.9, 0.999), 1e-8  # as published


@dataclass(frozen=True)
class ScoreStandardisation:
    """The published z-score of class scores: by the scores that validation images get for their own generator.

    It makes scores comparable in scale, no more.

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


@dataclass(frozen=True)
class ScoreTemperatures:
    """The published temperature per generator: class score / T_k.

    Attributes:
        temperature: float64 [K].
    """

    temperature: Float64Array

    @classmethod
    def fit(cls, class_score: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> ScoreTemperatures:
        """From class scores [V, K] and labels [V] of validation images, as published: 200 steps of Adam on log T.

        That is far from the optimum where scores are large (on the reference checkpoint 1.2 where 21 is best), which
        is why calibrated probabilities are fitted otherwise.
        """
        scores = class_score.astype(np.float64)
        target = np.eye(scores.shape[1])[labels]
        log_temperature = np.zeros(scores.shape[1])
        mean, square = np.zeros_like(log_temperature), np.zeros_like(log_temperature)
        first, second = ADAM_DECAYS
        for step in range(1, ADAM_STEPS + 1):
            scaled = scores / np.exp(log_temperature)
            gradient = ((target - softmax(scaled)) * scaled).mean(axis=0)  # of the cross entropy, by log T
            mean = first * mean + (1 - first) * gradient
            square = second * square + (1 - second) * gradient**2
            root = np.sqrt(square / (1 - second**step)) + ADAM_EPSILON
            log_temperature -= ADAM_RATE * mean / (1 - first**step) / root
        return cls(np.exp(log_temperature))

    def apply(self, class_score: npt.NDArray[np.floating]) -> Float64Array:
        """float64 [N, K]."""
        return np.asarray(class_score.astype(np.float64) / self.temperature)
