"""The within-class covariance of embeddings, shrunk so that it can be inverted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array
from protoleak.errors import CalibrationError

# Directions in which training images hardly vary are not trusted below this share of the mean variance. A graph
# computes in float32: 1e-4 means that rounding is amplified 100-fold relative to a typical direction, not more.
SMALLEST_EIGENVALUE = 1e-4


def class_means(vectors: Float64Array, labels: npt.NDArray[np.int64], classes: int) -> Float64Array:
    """Means [K, D] of the vectors [N, D] of each class.

    Raises:
        CalibrationError: a class has no vector.
    """
    counts = np.bincount(labels, minlength=classes)
    if (counts == 0).any():
        raise CalibrationError(f"class {int(np.argmin(counts))} has no training image: give it some or leave it out")
    return np.stack([vectors[labels == label].mean(axis=0) for label in range(classes)])


def within_class_eigen(vectors: Float64Array, labels: npt.NDArray[np.int64]) -> tuple[Float64Array, Float64Array]:
    """Eigenvalues [D] and eigenvectors [D, D] (columns) of the Ledoit-Wolf covariance of vectors about class means.

    Raises:
        CalibrationError: the vectors of each class are all the same.
    """
    from sklearn.covariance import ledoit_wolf

    classes, index = np.unique(labels, return_inverse=True)
    centred = vectors - class_means(vectors, index.astype(np.int64), len(classes))[index]
    covariance, _ = ledoit_wolf(centred, assume_centered=True)
    values, eigenvectors = np.linalg.eigh(covariance)
    mean = float(values.mean())
    # Rounding leaves about 1e-32 of the squared length where there is no variation at all.
    if not mean > 1e-24 * float(np.square(vectors).mean()):
        raise CalibrationError(
            "the training images of each class all have the same embedding: their covariance cannot be used; "
            "give at least two different images per class"
        )
    return np.maximum(values, SMALLEST_EIGENVALUE * mean), eigenvectors
