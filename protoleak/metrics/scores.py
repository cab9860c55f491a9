"""Ranking metrics of images that all weigh one, as plain numbers; `ranking` is what computes them.

Macro AUC exists twice. `macro_auc` takes class scores as they are, as published; such scores may not be comparable
between images (a distance head gives a hard image low scores for every generator), and then the AUC falls though
every image is attributed rightly. `macro_auc_softmax` takes the softmax over generators, which is comparable.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array, softmax
from protoleak.errors import CalibrationError
from protoleak.metrics.ranking import Ranking, class_aurocs, unweighted

FloatArray = npt.NDArray[np.floating]
LabelArray = npt.NDArray[np.int64]
TRUE_POSITIVE_RATE = 0.95  # at which false positives are counted


def auc_per_generator(labels: LabelArray, class_score: FloatArray) -> Float64Array:
    """One-vs-rest area under the ROC curve of each generator, float64 [K].

    Args:
        labels: int64 [N].
        class_score: [N, K].

    Raises:
        CalibrationError: a generator has no image, or all of them.
    """
    counts = np.bincount(labels, minlength=class_score.shape[1])
    if counts.min() == 0 or counts.max() == len(labels):
        raise CalibrationError(
            f"{len(labels)} images, {counts.tolist()} per generator: an AUC needs at least one of each generator"
        )
    return np.asarray(class_aurocs(class_score, labels, unweighted(len(labels)))[0])


def macro_auc(labels: LabelArray, class_score: FloatArray) -> float:
    """Mean over generators of the one-vs-rest AUC of the class scores as they are, as published."""
    return float(auc_per_generator(labels, class_score).mean())


def macro_auc_softmax(labels: LabelArray, class_score: FloatArray) -> float:
    """Mean over generators of the one-vs-rest AUC of the softmax over generators of the class scores."""
    return macro_auc(labels, softmax(class_score))


def auroc_known_unknown(known: FloatArray, unknown: FloatArray) -> float:
    """Probability that a known image has a greater log density than an unknown one; ties count half.

    Raises:
        CalibrationError: one of the two is empty.
    """
    return float(_ranked(known, unknown).auroc()[0])


def _ranked(known: FloatArray, unknown: FloatArray) -> Ranking:
    if not len(known) or not len(unknown):
        raise CalibrationError(f"{len(known)} known and {len(unknown)} unknown images: both are needed to compare them")
    is_known = np.repeat([True, False], [len(known), len(unknown)])
    return Ranking.of(np.concatenate([known, unknown]), is_known, unweighted(len(is_known)))
