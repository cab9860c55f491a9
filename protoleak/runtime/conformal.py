"""Split-conformal p-values: how unusual is an image among the calibration images of what the model knows?

p = (1 + #{calibration log density ≤ this one}) / (n + 1). For an image exchangeable with the n calibration images,
P(p ≤ α) ≤ floor(α (n + 1)) / (n + 1) ≤ α whatever the distribution (Vovk, Gammerman and Shafer, 2005): the new score
is equally likely to take each of the n + 1 ranks, and ties only raise p. It promises nothing about unknown images.

The same rank serves a second question where a bundle has a class of camera originals: how unusual is an image's margin
for that class among those of the class's own calibration images? See docs/decisions/0009-naming-a-generator.md.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array
from protoleak.bundle.calibration import ACCUSATION_SHARE, Calibration
from protoleak.errors import CalibrationError
from protoleak.metrics.report import Promise

CONFIDENCE = 0.95  # of the bounds on false rejections
BISECTIONS = 100  # far more than the 53 bits of a float64 need


def group(calibration: Calibration, generator_index: int, alpha: float) -> tuple[Float64Array, str]:
    """The calibration log densities that an image attributed to `generator_index` is compared with.

    Its generator's own list where that is large enough for α (1/(n + 1) ≤ α), else the list of all. Among images
    whose own list is used, at most a share α of the known is rejected on average. The list of all keeps its promise
    only over images of every generator together: where some lists are long enough and some are not, the total is
    below α·(1 + share of images with a list of their own), so below 2α.

    Args:
        calibration: of the variant in use.
        generator_index: the predicted generator.
        alpha: significance level, in (0, 1).

    Returns:
        Sorted float64 [n] log densities, and "generator" or "overall".

    Raises:
        CalibrationError: α is outside (0, 1), or both lists are too small for it; the message names the smallest
            possible α.
    """
    check_alpha(alpha)
    own = calibration.per_generator[generator_index]
    if smallest_alpha(len(own)) <= alpha:
        return own, "generator"
    check_enough(len(calibration.overall), alpha)
    return calibration.overall, "overall"


def accusation_level(originals: int, alpha: float, share: float = ACCUSATION_SHARE) -> float:
    """The level at which "a camera took this" is rejected before a generator is named: a share of α, since accusing a
    photograph is worse than calling a known generator unknown; where so few camera originals don't allow that, the
    lowest that they allow, 1/(n + 1), which for fewer than 1/α − 1 of them is more than α.

    Args:
        originals: n.
        share: of α, as the bundle says; see docs/decisions/0009-naming-a-generator.md.

    Raises:
        CalibrationError: α is outside (0, 1).
    """
    check_alpha(alpha)
    # In float64 0.05 × 0.2 is more than 0.01, while 0.05 / 5 is the 0.01 that is meant.
    return max(alpha / (1 / share), smallest_alpha(originals))


def track_accusation_level(images: int, level: float) -> float:
    """What the merged p-value of a track's faces must not exceed for a generator to be named: the faces' own level, so
    that a track of camera originals is accused no more often than one face; but twice 1/(n + 1), the smallest merged
    p-value that there is, where so few originals allow nothing smaller.

    Args:
        images: n, the camera originals that p-values are ranks among.
        level: the faces' `accusation_level`.
    """
    return max(level, 2 / (images + 1))


def acquittal_level(generated: int, alpha: float) -> float:
    """The level at which "a generator made this" is rejected before an image is called real: α, or the lowest that so
    few images by generators allow.

    Raises:
        CalibrationError: α is outside (0, 1).
    """
    check_alpha(alpha)
    return max(alpha, smallest_alpha(generated))


def generated_p_value(generated_margins: Float64Array, margin: float) -> float:
    """(1 + #{margins of generated images ≥ this one}) / (n + 1): small for an image that is more camera-like than those
    that generators made.

    Args:
        generated_margins: float64 [n], ascending.
        margin: `real_margin` of the image in question.

    Raises:
        CalibrationError: `margin` is NaN.
    """
    return p_value(-generated_margins[::-1], -margin)


def real_margin(class_score: npt.NDArray[np.floating], real: int) -> Float64Array:
    """By how much the score of the camera class exceeds the best of the others: [..., K] → float64 [...]."""
    scores = class_score.astype(np.float64)
    return np.asarray(scores[..., real] - np.delete(scores, real, axis=-1).max(axis=-1))


def check_enough(n: int, alpha: float) -> None:
    """Raises CalibrationError where n calibration images allow no α as small; the message names the smallest."""
    if smallest_alpha(n) <= alpha:
        return
    if n == 0:
        raise CalibrationError("there is no calibration image, so no alpha is possible: calibrate with real data")
    raise CalibrationError(
        f"alpha {alpha:g} is too small for {n} calibration images: the smallest possible alpha is "
        f"{_round_up(smallest_alpha(n))}; ask for that or more, or calibrate with more images"
    )


def check_alpha(alpha: float) -> None:
    """Raises CalibrationError unless 0 < α < 1."""
    if not 0.0 < alpha < 1.0:
        raise CalibrationError(f"alpha {alpha:g} is not a significance level: give a number between 0 and 1, like 0.05")


def p_value(calibrated: Float64Array, value: float) -> float:
    """(1 + #{calibration value ≤ this one}) / (n + 1), in (0, 1]; ties count.

    Args:
        calibrated: float64 [n], ascending: log densities, or margins.
        value: of the image in question, from the same variant; -inf is allowed.

    Raises:
        CalibrationError: `value` is NaN, which has no rank.
    """
    if math.isnan(value):
        raise CalibrationError("a log density or score is NaN, which has no p-value: the engine's output is damaged")
    rank = int(np.searchsorted(calibrated, value, side="right"))
    return (1 + rank) / (len(calibrated) + 1)


def smallest_alpha(n: int) -> float:
    """1/(n + 1): below this α, n calibration images can never reject anything."""
    return 1.0 / (n + 1)


def rejecting_ranks(n: int, alpha: float) -> int:
    """k = floor(α (n + 1)): how many of the n + 1 possible p-values are ≤ α.

    Decided by the comparison that decides verdicts, k/(n + 1) ≤ α in float64, since α (n + 1) rounds: 0.29 · 100 is
    below 29, while 29/100 ≤ 0.29 holds.
    """
    k = min(math.floor(alpha * (n + 1)) + 1, n + 1)
    while k > 0 and k / (n + 1) > alpha:
        k -= 1
    return k


def false_rejection_bound(n: int, alpha: float, confidence: float = CONFIDENCE) -> float:
    """The rate of false rejections that this very calibration set exceeds only with probability 1 - confidence.

    α holds on average over calibration sets. Given one, the rate is F(the k-th smallest of n scores) with
    k = floor(α (n + 1)), which for continuous scores is Beta(k, n + 1 - k) distributed: this is its quantile. Ties
    make the true rate smaller.

    Args:
        n: number of calibration images.
        alpha: significance level, in (0, 1).
        confidence: in (0, 1).

    Returns:
        The quantile; 0 when n is too small for α, since then nothing is ever rejected.

    Raises:
        CalibrationError: α or the confidence is outside (0, 1).
    """
    check_alpha(alpha)
    if not 0.0 < confidence < 1.0:
        raise CalibrationError(f"the confidence {confidence:g} is not between 0 and 1: give one like 0.95")
    k = rejecting_ranks(n, alpha)
    if k == 0:
        return 0.0
    # P(Beta(k, n + 1 - k) ≤ x) = P(Binomial(n, x) ≥ k): the quantile is where P(Binomial(n, x) < k) = 1 - confidence.
    successes = np.arange(k)
    log_factorials = np.array([math.lgamma(count + 1) for count in range(n + 1)])
    log_choose = log_factorials[n] - log_factorials[:k] - log_factorials[n - successes]
    target = math.log1p(-confidence)
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        rate = (low + high) / 2
        if not low < rate < high:
            break
        terms = log_choose + successes * math.log(rate) + (n - successes) * math.log1p(-rate)
        largest = float(terms.max())
        log_tail = largest + math.log(float(np.exp(terms - largest).sum()))
        low, high = (rate, high) if log_tail > target else (low, rate)
    return (low + high) / 2


def promise(calibration: Calibration, alpha: float) -> Promise:
    """What a calibration promises for all known images together.

    Images compared with their predicted generator's own list are rejected at a rate of at most α, and so are all
    images together by the list of all. Where both serve, a share of the images can meet either, and the two add up.

    The 95 % bound is a union bound over the lists in use: with each list's bound at confidence 1 − 5 %/lists, all hold
    together; a mean of generators' rates is at most their greatest.

    Raises:
        CalibrationError: α is outside (0, 1), or too small for the calibration images.
    """
    groups = [group(calibration, index, alpha) for index in range(len(calibration.per_generator))]
    own = [len(densities) for densities, kind in groups if kind == "generator"]
    overall = next((len(densities) for densities, kind in groups if kind == "overall"), None)
    confidence = 1 - (1 - CONFIDENCE) / (len(own) + (overall is not None))
    bounds = []
    if own:
        bounds.append(max(false_rejection_bound(n, alpha, confidence) for n in own))
    if overall is not None:
        bounds.append(false_rejection_bound(overall, alpha, confidence))
    return Promise(min(1.0, alpha * len(bounds)), min(1.0, sum(bounds)), len(calibration.overall))


def _round_up(alpha: float) -> str:
    """α in four digits that are never below it, so that the value shown is accepted when it is typed in."""
    exponent = math.floor(math.log10(alpha)) - 3
    scaled = math.ceil(alpha / 10.0**exponent)
    shown = f"{scaled * 10.0**exponent:.{max(-exponent, 0)}f}"
    return shown.rstrip("0") if "." in shown else shown
