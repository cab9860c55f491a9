"""What an evaluation gives: plain values, which are the JSON that it writes. What is undefined is null, with a reason
beside it."""

from __future__ import annotations

import msgspec

from protoleak.environment.machine import Machine

SCHEMA_VERSION = 1
Interval = tuple[float, float]


class Estimate(msgspec.Struct, frozen=True):
    """One number with its 95 % interval over resampled source images.

    Attributes:
        value: None where it is undefined.
        interval_95: None where resampling cannot tell.
        missing: why there is no value or no interval.
    """

    value: float | None
    interval_95: Interval | None
    missing: str | None


class Share(msgspec.Struct, frozen=True):
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
    over_sources_95: Interval | None


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
        macro_auc_raw: the same of class scores as they are, as published; they may not be comparable.
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
        taken_for: generator or "real" → how many of the others.
        open_set: against the known test images; None where there are none.
    """

    rejected: Share
    taken_for: dict[str, int]
    open_set: OpenSet | None


class FalseRejection(msgspec.Struct, frozen=True, kw_only=True):
    """Known images whose density is unusual (p-value ≤ α), against what is promised of them.

    Attributes:
        withheld: known images that are called unknown for the other reason: nearest to a generator, which is not
            named because they are not unusual enough among camera originals. Nothing is promised of it.
        promised_on_average: over calibrations.
        bound_95: what this calibration exceeds only with 5 % probability (a quantile of a Beta distribution).
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


class RobustnessRow(msgspec.Struct, frozen=True, kw_only=True):
    """Images after one operator at one severity, or after chains of one length, at the frozen threshold.

    Attributes:
        operator: of `protoleak.images.perturbations`; "chain", or "none" for the same images as they are.
        severity: 1 to 5; of a chain its length.
        level: what that severity is, with the unit.
        failed: images that gave no verdict; `error` is the first one's reason.
        real_accused: real photographs for which a generator was named; None where none are measured.
        right: known images with their own class's verdict.
        rejected: known images called unknown.
        wrong: known images with another class's verdict.
        auroc: known against unknown images, both after the operator.
    """

    operator: str
    severity: int
    level: str
    failed: int
    error: str | None
    real_accused: Share | None
    right: Share
    rejected: Share
    wrong: Share
    macro_auc_softmax: Estimate
    auroc: Estimate


class Robustness(msgspec.Struct, frozen=True, kw_only=True):
    """How long answers hold.

    Attributes:
        rows: "none" first.
        macro_auc_per_operator: mean over severities.
        macro_auc: mean over the operators; chains apart.
    """

    images_per_class: int
    rows: list[RobustnessRow]
    macro_auc_per_operator: dict[str, float | None]
    macro_auc: float | None
    macro_auc_of_chains: float | None


class Curve(msgspec.Struct, frozen=True):
    """Points of an ROC curve: share of negatives, share of positives."""

    name: str
    points: list[tuple[float, float]]


class Confusion(msgspec.Struct, frozen=True):
    """Verdicts by the folder that an image came from.

    Attributes:
        columns: the known classes and "unknown".
        rows: folder → one count per column.
    """

    columns: list[str]
    rows: dict[str, list[int]]


class Histogram(msgspec.Struct, frozen=True):
    """Log densities, as shares of each set of images.

    Attributes:
        edges: of the bins; what lies outside is counted in the outermost.
        shares: set → one share per bin.
    """

    edges: list[float]
    shares: dict[str, list[float]]


class VariantReport(msgspec.Struct, frozen=True, kw_only=True):
    """One variant of the bundle, or the error in its place. Real faces come first.

    Attributes:
        real_class: images of the bundle's own camera class in the test split for which a generator was named.
        real_open_set: known generators' images against the real photographs, by score.
        unreadable: one line per file that gave no verdict.
    """

    variant: str
    engine: str
    device: str | None = None
    error: str | None = None
    real_faces: RealFaces | None = None
    real_class: Share | None = None
    closed_set: ClosedSet | None = None
    false_rejection: FalseRejection | None = None
    unknown: dict[str, UnknownGenerator] = {}
    real_open_set: list[OpenSet] = []
    probabilities: Probabilities | None = None
    robustness: Robustness | None = None
    roc: list[Curve] = []
    confusion: Confusion | None = None
    densities: Histogram | None = None
    unreadable: list[str] = []


class BundleFacts(msgspec.Struct, frozen=True):
    """Which bundle was evaluated."""

    name: str
    sha256: str
    generators: list[str]
    real_class: str | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one `protoleak evaluate` measured.

    Attributes:
        real_faces_accused: variant → what stands first in every report; None where no real photographs were given or
            the variant failed.
        created: UTC, ISO 8601.
        images: which images they are and how many, in words.
        sources: different source images among them, which intervals are over.
        notes: how to read the numbers.
    """

    real_faces_accused: dict[str, Share | None]
    schema_version: int
    created: str
    bundle: BundleFacts
    machine: Machine
    alpha: float
    seed: int
    resamples: int
    sources: int
    images: list[str]
    variants: list[VariantReport]
    notes: list[str]
