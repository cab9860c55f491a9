"""What is measured of a variant, as plain values: the same in a bundle's report.json, in an evaluation and in a
benchmark.

What is undefined has no value but a reason; what was not measured is left out.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Interval: TypeAlias = tuple[float, float]


class Estimate(msgspec.Struct, frozen=True, omit_defaults=True):
    """One number, with its 95 % interval over resampled source images where there were resamples.

    Attributes:
        value: None where it is undefined.
        interval_95: None where none was asked for, or resampling cannot tell.
        missing: why there is no value, or no interval where one was asked for.
    """

    value: float | None
    interval_95: Interval | None = None
    missing: str | None = None


class Share(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many images out of how many.

    Attributes:
        share: None of none.
        interval_95: Wilson's, which holds for independent images.
        over_sources_95: over resampled source images; without width where all images agree. None as in Estimate.
    """

    count: int
    of: int
    share: float | None
    interval_95: Interval
    over_sources_95: Interval | None = None


class RealFaces(msgspec.Struct, frozen=True):
    """Photographs of people from sources that training never saw.

    Attributes:
        accused: those for which a generator was named: the worst error of this software.
        verdicts: "known", "real" and "unknown" → how many.
        accused_of: generator → how many.
    """

    accused: Share
    verdicts: dict[str, int]
    accused_of: dict[str, int]


class GeneratorResult(msgspec.Struct, frozen=True):
    """One known class against the other known ones. `recall`: those of its images that score highest for it."""

    auc_softmax: Estimate
    auc_raw: Estimate
    recall: Share


class ClosedSet(msgspec.Struct, frozen=True):
    """Attribution among the known classes, whether or not an image would be rejected.

    Attributes:
        macro_auc_softmax: mean of one-vs-rest AUCs of the softmax over classes, which is comparable between images.
        macro_auc_raw: the same of class scores as they are, as published. They may not be comparable: a distance head
            gives a hard image low scores for every class, and then the AUC falls though every image is attributed
            rightly.
        accuracy: top-1.
        per_generator: all known classes, those without an image among them.
    """

    images: int
    macro_auc_softmax: Estimate
    macro_auc_raw: Estimate
    accuracy: Estimate
    balanced_accuracy: Estimate
    per_generator: dict[str, GeneratorResult]


class OpenSet(msgspec.Struct, frozen=True, kw_only=True):
    """Images that the bundle should recognise against others, by one score.

    Attributes:
        score: what ranks them; the known should have more of it.
        known, others: how many images of each.
        aupr_known, aupr_others: average precision with either side as the one that is looked for.
        fpr_at_95_tpr: share of the others that is taken where 95 % of the known are.
        oscr: area under (known taken and rightly attributed) over (others taken).
    """

    score: str
    known: int
    others: int
    auroc: Estimate
    aupr_known: Estimate
    aupr_others: Estimate
    fpr_at_95_tpr: Estimate
    eer: Estimate
    oscr: Estimate


class UnknownGenerator(msgspec.Struct, frozen=True):
    """A generator that the bundle doesn't know, or all of them.

    Attributes:
        rejected: called unknown at α.
        taken_for: generator or "real" → how many of the rest.
        open_set: against the known test images; None where there are none.
    """

    rejected: Share
    taken_for: dict[str, int]
    open_set: OpenSet | None


class Promise(msgspec.Struct, frozen=True):
    """What a calibration promises for the rate of false rejections among known images of all classes together.

    Attributes:
        on_average: over calibrations, the rate is at most this.
        bound_95: one calibration exceeds this only with 5 % probability (a quantile of a Beta distribution).
        calibration_images: how many there are.
    """

    on_average: float
    bound_95: float
    calibration_images: int


class FalseRejection(msgspec.Struct, frozen=True, kw_only=True):
    """Known images whose density is unusual (p-value ≤ α), against what is promised of them.

    Attributes:
        withheld: known images that are called unknown for the other reason: nearest to a generator, which is not
            named because they are not unusual enough among camera originals. Nothing is promised of it.
        promised_on_average, bound_95, calibration_images: see `Promise`.
        within_bound: whether the measured share is.
        per_generator: by the class that made the image; promised is only the whole.
    """

    rejected: Share
    withheld: Share
    promised_on_average: float
    bound_95: float
    within_bound: bool
    calibration_images: int
    per_generator: dict[str, Share]


class ReliabilityBin(msgspec.Struct, frozen=True):
    """Known images whose greatest probability lies in (low, high]."""

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


class Probabilities(msgspec.Struct, frozen=True):
    """Whether the bundle's probabilities are what they say.

    Attributes:
        ece: expected calibration error, the mean gap between confidence and accuracy over the bins.
        brier: mean squared distance between probabilities and the truth, 0 to 2.
        bins: those with images.
    """

    ece: Estimate
    brier: Estimate
    bins: list[ReliabilityBin]


class Measures(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was measured of one variant of a bundle. Real faces come first.

    Attributes:
        real_faces: None where no photographs were given.
        real_class: images of the bundle's own class of camera originals for which a generator was named; None without
            such a class.
        closed_set, false_rejection, probabilities: of known test images; None where there are none.
        unknown: per generator that the bundle doesn't know, all of them together last where there are several.
        real_open_set: known generators' images against the photographs, by score.
    """

    variant: str
    real_faces: RealFaces | None = None
    real_class: Share | None = None
    closed_set: ClosedSet | None = None
    false_rejection: FalseRejection | None = None
    unknown: dict[str, UnknownGenerator] = {}
    real_open_set: list[OpenSet] = []
    probabilities: Probabilities | None = None
