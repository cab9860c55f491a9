"""Fits what a newcomer will be told by to the training images: normal features, a mean per class, one covariance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float32Array
from protoleak.bundle.class_statistics import STEPS, ClassStatistics
from protoleak.calibration.covariance import class_means
from protoleak.errors import CalibrationError

RANK = 256  # directions of the covariance that are kept: 64 tell newcomers apart as well, 128 find fewer clusters
SMALLEST_DEVIATION = 1e-4
SMALLEST_REMAINDER = 1e-6


def fit_class_statistics(
    statistics: Float32Array, embedding: Float32Array, labels: npt.NDArray[np.int64], classes: int
) -> ClassStatistics:
    """From statistics [n, L·F], embeddings [n, D] and classes [n] of training images.

    Raises:
        CalibrationError: a class has no image, or a value is not finite.
    """
    values = np.concatenate([statistics, embedding], axis=1).astype(np.float64)
    if not np.isfinite(values).all():
        raise CalibrationError("training images gave statistics that are not finite: the model is unusable")
    within = values - class_means(values, labels, classes)[labels]
    deviation = np.sqrt(np.square(within).mean(axis=0)).clip(SMALLEST_DEVIATION).astype(np.float32)
    mean = values.mean(axis=0).astype(np.float32)
    nothing = np.zeros((0, len(mean)))
    rough = ClassStatistics.of(mean, deviation, nothing, nothing, 1.0, len(values))
    points = rough.features(statistics, embedding).astype(np.float64) / STEPS  # as they will be where it is used
    means = class_means(points, labels, classes)
    _, singular, directions = np.linalg.svd((points - means[labels]) / np.sqrt(len(points)), full_matrices=False)
    remainder = float(np.square(singular[RANK:]).sum() / len(mean))
    return ClassStatistics.of(
        mean,
        deviation,
        means,
        singular[:RANK, None] * directions[:RANK],
        max(remainder, SMALLEST_REMAINDER),
        len(points),
    )
