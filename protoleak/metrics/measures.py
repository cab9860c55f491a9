"""From a variant's predictions to the report of what they are worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np

from protoleak.arrays import Float64Array
from protoleak.metrics.intervals import Metric, Resamples
from protoleak.metrics.predictions import Predictions
from protoleak.metrics.ranking import BoolArray, Ranking, class_aurocs, class_shares, weighted_share
from protoleak.metrics.report import (
    ClosedSet,
    Estimate,
    FalseRejection,
    GeneratorResult,
    Measures,
    OpenSet,
    Probabilities,
    Promise,
    RealFaces,
    ReliabilityBin,
    Share,
    UnknownGenerator,
)
from protoleak.metrics.scores import TRUE_POSITIVE_RATE

RELIABILITY_BINS = 15  # of equal width, as Guo et al., 2017
ALL_UNKNOWN = "(all unknown generators)"


def measure(
    variant: str, predictions: Predictions, unknown_names: Sequence[str], promise: Promise, resamples: Resamples
) -> Measures:
    """Everything that is measured of a variant's verdicts.

    Args:
        variant: its name.
        predictions: on all images.
        unknown_names: of the generators that the bundle doesn't know, those without an image among them.
        promise: of the calibration that the verdicts were made with, at their α.
        resamples: of the images' sources.
    """
    known, unknown, real = (predictions.of_kind(kind) for kind in ("known", "unknown", "real"))
    measures = Measures(
        variant=variant,
        real_faces=real_faces(real, resamples) if len(real) else None,
        unknown=unknown_generators(known, unknown, unknown_names, resamples),
    )
    if not len(known):
        return measures
    return msgspec.structs.replace(
        measures,
        real_class=real_class(known, resamples),
        closed_set=closed_set(known, resamples),
        false_rejection=false_rejection(known, promise, resamples),
        real_open_set=against_real(known, real, resamples) if len(real) else [],
        probabilities=probabilities(known, resamples),
    )


def real_faces(real: Predictions, resamples: Resamples) -> RealFaces:
    """What became of photographs of people from sources that training never saw."""
    accused = real.verdicts == "known"
    named = Counter(real.classes.names[index] for index in real.attributed[accused])
    verdicts = {name: int((real.verdicts == name).sum()) for name in ("known", "real", "unknown")}
    return RealFaces(resamples.share(real.sources, accused), verdicts, dict(sorted(named.items())))


def real_class(known: Predictions, resamples: Resamples) -> Share | None:
    """Images of the bundle's own class of camera originals for which a generator was named; None without one."""
    if known.classes.real is None:
        return None
    camera = known.of_class(known.classes.real)
    return resamples.share(camera.sources, camera.verdicts == "known")


def closed_set(known: Predictions, resamples: Resamples) -> ClosedSet:
    """Attribution among the known classes. A class without an image is a row that says so."""
    labels, right = known.labels, known.attributed == known.labels
    names = known.classes.names
    counts = np.bincount(labels, minlength=len(names))
    empty = [name for name, count in zip(names, counts, strict=True) if count == 0]
    why = f"no image of {', '.join(empty)}" if empty else "a class without an image, or none of another class"
    raw, softmax = known.class_score, known.softmax

    def auc(scores: Float64Array, label: int) -> Estimate:
        reason = "no image of it" if counts[label] == 0 else "no image of another class"
        return resamples.estimate(
            known.sources, lambda weights: Ranking.of(scores[:, label], labels == label, weights).auroc(), reason
        )

    def balanced(weights: Float64Array) -> Float64Array:
        return np.asarray(class_shares(labels, right, weights).mean(axis=1))

    return ClosedSet(
        images=len(known),
        macro_auc_softmax=resamples.estimate(known.sources, macro_auc(softmax, known), why),
        macro_auc_raw=resamples.estimate(known.sources, macro_auc(raw, known), why),
        accuracy=resamples.estimate(known.sources, lambda weights: weighted_share(right, weights), "no image"),
        balanced_accuracy=resamples.estimate(known.sources, balanced, "no image"),
        per_generator={
            name: GeneratorResult(
                auc(softmax, label),
                auc(raw, label),
                resamples.share(known.of_class(label).sources, right[labels == label]),
            )
            for label, name in enumerate(names)
        },
    )


def macro_auc(scores: Float64Array, known: Predictions) -> Metric:
    """Mean over all classes of the one-vs-rest AUC; undefined where a class has no image."""

    def metric(weights: Float64Array) -> Float64Array:
        return np.asarray(class_aurocs(scores, known.labels, weights).mean(axis=1))

    return metric


def open_set(
    known: Predictions,
    known_score: Float64Array,
    others: Predictions,
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
        fpr_at_95_tpr=estimate(lambda weights: ranking(weights).false_positive_rate_at(TRUE_POSITIVE_RATE)),
        eer=estimate(lambda weights: ranking(weights).equal_error_rate()),
        oscr=estimate(lambda weights: ranking(weights).oscr()),
    )


def unknown_generators(
    known: Predictions, unknown: Predictions, names: Sequence[str], resamples: Resamples
) -> dict[str, UnknownGenerator]:
    """Each generator that the bundle doesn't know, and where there are several all of them together."""
    found = {name: unknown_generator(known, unknown.of_kind("unknown", name), resamples) for name in names}
    if len(found) > 1:
        found[ALL_UNKNOWN] = unknown_generator(known, unknown, resamples)
    return found


def unknown_generator(known: Predictions, others: Predictions, resamples: Resamples) -> UnknownGenerator:
    """Images of a generator that the bundle doesn't know: rejected, taken for whom, and ranked by log density."""
    taken = Counter(
        "real" if verdict == "real" else others.classes.names[index]
        for verdict, index in zip(others.verdicts, others.attributed, strict=True)
        if verdict != "unknown"
    )
    against = None
    if len(known):
        against = open_set(known, known.log_density, others, others.log_density, "log density", resamples)
    rejected = resamples.share(others.sources, others.verdicts == "unknown")
    return UnknownGenerator(rejected, dict(sorted(taken.items())), against)


def against_real(known: Predictions, real: Predictions, resamples: Resamples) -> list[OpenSet]:
    """Known generators' images against photographs that training never saw.

    By log density, as an open set; with a class of camera originals also by the probability that any generator has,
    since photographs are then not unknown to the bundle and may well be as dense as its own: the calibrated one that a
    verdict states, or the plain softmax where the bundle has no temperature.
    """
    camera = known.classes.real
    generated = known if camera is None else known.where(known.labels != camera)
    if not len(generated):
        return []
    found = [open_set(generated, generated.log_density, real, real.log_density, "log density", resamples)]
    if camera is not None:
        calibrated = generated.probability is not None and real.probability is not None
        score = f"{'calibrated probability' if calibrated else 'softmax'} of all generators"
        of_any = [
            1 - (images.softmax if images.probability is None else images.probability)[:, camera]
            for images in (generated, real)
        ]
        found.append(open_set(generated, of_any[0], real, of_any[1], score, resamples))
    return found


def false_rejection(known: Predictions, promise: Promise, resamples: Resamples) -> FalseRejection:
    """Known images rejected at α, what is promised of them, and those withheld as too like a camera's."""
    rejected = known.rejected
    whole = resamples.share(known.sources, rejected)
    return FalseRejection(
        rejected=whole,
        withheld=resamples.share(known.sources, (known.verdicts == "unknown") & ~rejected),
        promised_on_average=promise.on_average,
        bound_95=promise.bound_95,
        within_bound=whole.count <= promise.bound_95 * whole.of,
        calibration_images=promise.calibration_images,
        per_generator={
            name: resamples.share(own.sources, own.rejected)
            for label, name in enumerate(known.classes.names)
            for own in [known.of_class(label)]
        },
    )


def probabilities(known: Predictions, resamples: Resamples) -> Probabilities | None:
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
