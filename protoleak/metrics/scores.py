"""What is measured of a model, closed set and open set.

Macro AUC exists twice. `macro_auc` takes class scores as they are, as published; such scores may not be comparable
between images (a distance head gives a hard image low scores for every generator), and then the AUC falls though
every image is attributed rightly. `macro_auc_softmax` takes the softmax over generators, which is comparable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array
from protoleak.errors import CalibrationError

FloatArray = npt.NDArray[np.floating]
LabelArray = npt.NDArray[np.int64]
NORMAL_QUANTILE_95 = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution


def softmax(class_score: FloatArray) -> Float64Array:
    """Softmax over the last axis, in float64."""
    shifted = class_score.astype(np.float64) - class_score.max(axis=-1, keepdims=True)
    exponential = np.exp(shifted)
    return np.asarray(exponential / exponential.sum(axis=-1, keepdims=True))


def auc_per_generator(labels: LabelArray, class_score: FloatArray) -> Float64Array:
    """One-vs-rest area under the ROC curve of each generator, float64 [K].

    Args:
        labels: int64 [N].
        class_score: [N, K].

    Raises:
        CalibrationError: a generator has no image, or all of them.
    """
    from sklearn.metrics import roc_auc_score

    counts = np.bincount(labels, minlength=class_score.shape[1])
    if counts.min() == 0 or counts.max() == len(labels):
        raise CalibrationError(
            f"{len(labels)} images, {counts.tolist()} per generator: an AUC needs at least one of each generator"
        )
    return np.array([roc_auc_score(labels == k, class_score[:, k]) for k in range(class_score.shape[1])])


def macro_auc(labels: LabelArray, class_score: FloatArray) -> float:
    """Mean over generators of the one-vs-rest AUC of the class scores as they are, as published."""
    return float(auc_per_generator(labels, class_score).mean())


def macro_auc_softmax(labels: LabelArray, class_score: FloatArray) -> float:
    """Mean over generators of the one-vs-rest AUC of the softmax over generators of the class scores."""
    return macro_auc(labels, softmax(class_score))


def accuracy(labels: LabelArray, class_score: FloatArray) -> float:
    """Share of images whose greatest class score is their generator's."""
    return float((class_score.argmax(axis=1) == labels).mean())


def balanced_accuracy(labels: LabelArray, class_score: FloatArray) -> float:
    """Mean over the generators that have images of the accuracy on their images."""
    right = class_score.argmax(axis=1) == labels
    return float(np.mean([right[labels == k].mean() for k in np.unique(labels)]))


def auroc_known_unknown(known: FloatArray, unknown: FloatArray) -> float:
    """Probability that a known image has a greater log density than an unknown one; ties count half.

    Raises:
        CalibrationError: one of the two is empty.
    """
    from sklearn.metrics import roc_auc_score

    _need_both(known, unknown)
    is_known = np.repeat([True, False], [len(known), len(unknown)])
    return float(roc_auc_score(is_known, np.concatenate([known, unknown])))


def false_positive_rate_at_95(known: FloatArray, unknown: FloatArray) -> float:
    """Share of unknown images accepted at the greatest threshold that accepts 95 % of the known ones.

    Raises:
        CalibrationError: one of the two is empty.
    """
    _need_both(known, unknown)
    accepted = math.ceil(0.95 * len(known) - 1e-9)  # 0.95 · 20 is a little above 19 in floating point
    threshold = np.sort(known)[len(known) - accepted]
    return float((unknown >= threshold).mean())


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a proportion; (0, 1) without trials.

    Raises:
        ValueError: not 0 ≤ successes ≤ trials.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is no proportion")
    if trials == 0:
        return 0.0, 1.0
    z_squared = NORMAL_QUANTILE_95**2
    share = successes / trials
    centre = (share + z_squared / (2 * trials)) / (1 + z_squared / trials)
    variance = share * (1 - share) / trials + z_squared / (4 * trials**2)
    half = NORMAL_QUANTILE_95 * math.sqrt(variance) / (1 + z_squared / trials)
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return low, high


def closed_set(labels: LabelArray, class_score: FloatArray, generators: Sequence[str]) -> dict[str, object]:
    """All closed-set numbers of known test images, for a report.json."""
    raw, comparable = auc_per_generator(labels, class_score), auc_per_generator(labels, softmax(class_score))
    return {
        "images": len(labels),
        "macro_auc": float(raw.mean()),
        "macro_auc_softmax": float(comparable.mean()),
        "accuracy": accuracy(labels, class_score),
        "balanced_accuracy": balanced_accuracy(labels, class_score),
        "auc_per_generator": dict(zip(generators, raw.tolist(), strict=True)),
        "auc_softmax_per_generator": dict(zip(generators, comparable.tolist(), strict=True)),
    }


def _need_both(known: FloatArray, unknown: FloatArray) -> None:
    if not len(known) or not len(unknown):
        raise CalibrationError(f"{len(known)} known and {len(unknown)} unknown images: both are needed to compare them")
