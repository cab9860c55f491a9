"""The numbers of one variant on images as they are, from its outputs."""

from __future__ import annotations

from collections import Counter

import numpy as np

from protoleak.arrays import Float64Array
from protoleak.bundle.bundle import Calibration
from protoleak.bundle.manifest import Manifest
from protoleak.evaluation.bootstrap import Metric, Resamples
from protoleak.evaluation.predictions import Outputs
from protoleak.evaluation.results import (
    ClosedSet,
    Estimate,
    FalseRejection,
    GeneratorResult,
    OpenSet,
    Probabilities,
    RealFaces,
    ReliabilityBin,
    Share,
    UnknownGenerator,
)
from protoleak.metrics.ranking import BoolArray, Ranking, confusion_shares, weighted_share
from protoleak.runtime import conformal

RELIABILITY_BINS = 15  # of equal width, as Guo et al., 2017
TAKEN_AT = 0.95


def real_faces(real: Outputs, manifest: Manifest, resamples: Resamples) -> RealFaces:
    """What became of photographs of people from sources that training never saw."""
    accused = real.verdict == "known"
    named = Counter(manifest.generators[index] for index in real.attributed[accused])
    verdicts = {name: int((real.verdict == name).sum()) for name in ("known", "real", "unknown")}
    return RealFaces(resamples.share(real.sources, accused), verdicts, dict(sorted(named.items())))


def real_class(known: Outputs, manifest: Manifest, resamples: Resamples) -> Share | None:
    """Images of the bundle's own camera class for which a generator was named; None without such a class."""
    if manifest.real_class is None:
        return None
    camera = known.where(known.labels == manifest.generators.index(manifest.real_class))
    return resamples.share(camera.sources, camera.verdict == "known")


def closed_set(known: Outputs, manifest: Manifest, resamples: Resamples) -> ClosedSet:
    """Attribution among the known classes. A class without an image is a row that says so."""
    labels, right = known.labels, known.attributed == known.labels
    classes = len(manifest.generators)
    counts = np.bincount(labels, minlength=classes)
    empty = [name for name, count in zip(manifest.generators, counts, strict=True) if count == 0]
    why = f"no image of {', '.join(empty)}" if empty else "a class without an image, or none of another class"
    raw, comparable = known.class_score, known.comparable

    def auc(scores: Float64Array, label: int) -> Estimate:
        reason = "no image of it" if counts[label] == 0 else "no image of another class"
        return resamples.estimate(
            known.sources, lambda weights: Ranking.of(scores[:, label], labels == label, weights).auroc(), reason
        )

    def balanced(weights: Float64Array) -> Float64Array:
        return np.asarray(confusion_shares(labels, right, weights).mean(axis=1))

    return ClosedSet(
        images=len(known),
        macro_auc_softmax=resamples.estimate(known.sources, macro_auc(comparable, known), why),
        macro_auc_raw=resamples.estimate(known.sources, macro_auc(raw, known), why),
        accuracy=resamples.estimate(known.sources, lambda weights: weighted_share(right, weights), "no image"),
        balanced_accuracy=resamples.estimate(known.sources, balanced, "no image"),
        per_generator={
            name: GeneratorResult(
                auc(comparable, label),
                auc(raw, label),
                resamples.share(known.where(labels == label).sources, right[labels == label]),
            )
            for label, name in enumerate(manifest.generators)
        },
    )


def macro_auc(scores: Float64Array, known: Outputs) -> Metric:
    """Mean over all classes of the one-vs-rest AUC; undefined where a class has no image."""
    labels = known.labels

    def metric(weights: Float64Array) -> Float64Array:
        per_class = [Ranking.of(scores[:, label], labels == label, weights).auroc() for label in range(scores.shape[1])]
        return np.asarray(np.mean(per_class, axis=0))

    return metric


def open_set(
    known: Outputs,
    known_score: Float64Array,
    others: Outputs,
    others_score: Float64Array,
    score: str,
    resamples: Resamples,
) -> OpenSet:
    """Known images against others.

    Args:
        known_score, others_score: float64 [n] of either side; the known should have more.
        score: what it is.
    """
    both = np.concatenate([known_score, others_score])
    is_known = np.repeat([True, False], [len(known), len(others)])
    right = np.concatenate([known.attributed == known.labels, np.zeros(len(others), dtype=np.bool_)])
    sources = known.sources + others.sources

    def estimate(metric: Metric) -> Estimate:
        return resamples.estimate(sources, metric, f"{len(known)} known images and {len(others)} others")

    def ranking(weights: Float64Array) -> Ranking:
        return Ranking.of(both, is_known, weights, right)

    return OpenSet(
        score=score,
        known=len(known),
        others=len(others),
        auroc=estimate(lambda weights: ranking(weights).auroc()),
        aupr_known=estimate(lambda weights: ranking(weights).average_precision()),
        aupr_others=estimate(lambda weights: Ranking.of(-both, ~is_known, weights).average_precision()),
        fpr_at_95_tpr=estimate(lambda weights: ranking(weights).false_positive_rate_at(TAKEN_AT)),
        eer=estimate(lambda weights: ranking(weights).equal_error_rate()),
        oscr=estimate(lambda weights: ranking(weights).oscr()),
    )


def unknown_generator(known: Outputs, others: Outputs, manifest: Manifest, resamples: Resamples) -> UnknownGenerator:
    """Images of a generator that the bundle doesn't know: rejected, taken for whom, and told apart by log density."""
    taken = Counter(
        "real" if verdict == "real" else manifest.generators[index]
        for verdict, index in zip(others.verdict, others.attributed, strict=True)
        if verdict != "unknown"
    )
    against = None
    if len(known):
        against = open_set(known, known.log_density, others, others.log_density, "log density", resamples)
    rejected = resamples.share(others.sources, others.verdict == "unknown")
    return UnknownGenerator(rejected, dict(sorted(taken.items())), against)


def against_real(known: Outputs, real: Outputs, manifest: Manifest, resamples: Resamples) -> list[OpenSet]:
    """Known generators' images against photographs that training never saw.

    By log density, as an open set; with a camera class also by the softmax that any generator has, since photographs
    are then not unknown to the bundle and may well be as dense as its own.
    """
    generated = known
    if manifest.real_class is not None:
        generated = known.where(known.labels != manifest.generators.index(manifest.real_class))
    if not len(generated):
        return []
    found = [open_set(generated, generated.log_density, real, real.log_density, "log density", resamples)]
    if manifest.real_class is not None:
        camera = manifest.generators.index(manifest.real_class)
        score = "softmax of all generators"
        found.append(
            open_set(
                generated, 1 - generated.comparable[:, camera], real, 1 - real.comparable[:, camera], score, resamples
            )
        )
    return found


def false_rejection(
    known: Outputs, manifest: Manifest, calibration: Calibration, alpha: float, resamples: Resamples
) -> FalseRejection:
    """Known images rejected at α, what is promised of them, and those withheld as too like a camera's."""
    rejected = known.rejected
    promised = conformal.promise(calibration, alpha)
    labels = known.labels
    whole = resamples.share(known.sources, rejected)
    return FalseRejection(
        rejected=whole,
        withheld=resamples.share(known.sources, (known.verdict == "unknown") & ~rejected),
        promised_on_average=promised.on_average,
        bound_95=promised.bound_95,
        within_bound=whole.count <= promised.bound_95 * whole.of,
        calibration_images=len(calibration.overall),
        per_generator={
            name: resamples.share(known.where(labels == label).sources, rejected[labels == label])
            for label, name in enumerate(manifest.generators)
        },
    )


def probabilities(known: Outputs, resamples: Resamples) -> Probabilities | None:
    """Whether calibrated probabilities are what they say; None where the bundle has none.

    The expected calibration error is Σ_b (n_b / n) |accuracy_b − confidence_b| over bins of equal width of the greatest
    probability (Guo, Pleiss, Sun and Weinberger, 2017). It is biased upwards where bins hold few images.
    """
    if known.probability is None:
        return None
    probability, labels = known.probability, known.labels
    confidence, right = probability.max(axis=1), probability.argmax(axis=1) == labels
    edges = np.linspace(0, 1, RELIABILITY_BINS + 1)
    place = np.clip(np.ceil(confidence * RELIABILITY_BINS).astype(np.int64) - 1, 0, RELIABILITY_BINS - 1)
    inside: BoolArray = place[:, None] == np.arange(RELIABILITY_BINS)
    gap = (right - confidence)[:, None] * inside
    truth = np.zeros_like(probability)
    truth[np.arange(len(labels)), labels] = 1
    squared = np.square(probability - truth).sum(axis=1)

    def error(weights: Float64Array) -> Float64Array:
        return np.asarray(np.abs(weights @ gap).sum(axis=1) / weights.sum(axis=1))

    def brier(weights: Float64Array) -> Float64Array:
        return np.asarray(weights @ squared / weights.sum(axis=1))

    return Probabilities(
        ece=resamples.estimate(known.sources, error, "no image"),
        brier=resamples.estimate(known.sources, brier, "no image"),
        bins=[
            ReliabilityBin(
                low=float(edges[index]),
                high=float(edges[index + 1]),
                images=int(chosen.sum()),
                confidence=float(confidence[chosen].mean()),
                accuracy=float(right[chosen].mean()),
            )
            for index, chosen in enumerate(inside.T)
            if chosen.any()
        ],
    )
