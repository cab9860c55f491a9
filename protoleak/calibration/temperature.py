"""Probabilities: one temperature for the softmax over class scores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

IMAGES_PER_GENERATOR = 2  # fewer of one generator, and its probabilities would rest on a single image
LOG_RANGE = 16.0  # temperatures from e⁻¹⁶ to e¹⁶ times the scores' own spread


def fit_temperature(class_score: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> float | None:
    """The T that minimises the validation negative log likelihood of softmax(class score / T), in float64.

    The likelihood is a convex function of 1/T, so a bounded search finds the one minimum.

    Args:
        class_score: [V, K], of images that the head was not fitted on.
        labels: int64 [V].

    Returns:
        T; or None when a generator has fewer than two images, or when no finite T is best: every image attributed
        rightly asks for certainty (T → 0), scores that say nothing ask for none (T → ∞). Such data cannot support
        probabilities.
    """
    from scipy.optimize import minimize_scalar

    counts = np.bincount(labels, minlength=class_score.shape[1])
    spread = float(np.ptp(class_score.astype(np.float64), axis=1).mean()) if len(labels) else 0.0
    if counts.min() < IMAGES_PER_GENERATOR or spread == 0.0:
        return None
    scores = class_score.astype(np.float64)
    relative = scores - scores[np.arange(len(labels)), labels][:, None]
    # The loss Σ logsumexp(relative/T) falls for ever as 1/T grows unless some other generator scores higher, and
    # rises from 1/T = 0 on unless the own score is above the average.
    if relative.max() <= 0.0 or relative.mean() >= 0.0:
        return None

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp.reduce(relative / (spread * np.exp(log_temperature)), axis=1).mean())

    found = minimize_scalar(loss, bounds=(-LOG_RANGE, LOG_RANGE), method="bounded", options={"xatol": 1e-10})
    return float(spread * np.exp(found.x))
