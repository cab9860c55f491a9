"""What an evaluation gives: plain values, which are the JSON that it writes."""

from __future__ import annotations

import msgspec

from protoleak.environment.machine import Machine
from protoleak.metrics.report import Estimate, Measures, Share

SCHEMA_VERSION = 1


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
    """For how long verdicts hold.

    Attributes:
        rows: "none" first.
        macro_auc_per_operator: mean over the severities that could be measured; None where none could.
        macro_auc: mean over the operators that could be measured; chains apart.
        not_measured: operator and level of the rows that left a class without an image: at its strongest, an operator
            may leave no face to be found.
    """

    images_per_class: int
    rows: list[RobustnessRow]
    macro_auc_per_operator: dict[str, float | None]
    macro_auc: float | None
    macro_auc_of_chains: float | None
    not_measured: list[str]


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


class SourceRow(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the images of one collection.

    Attributes:
        kind: "known", "unknown" or "real", as `Image.kind`.
        folder: the class or the unknown generator; "real photographs" for those without one.
        source: the folder that holds them.
        right: with the right verdict: of a known generator its name, of an unknown one `unknown`, of cameras `real`.
        named: for which some generator was named; of cameras: accused.
    """

    kind: str
    folder: str
    source: str
    right: Share
    named: Share
    called_real: Share
    called_unknown: Share


class AccusedFace(msgspec.Struct, frozen=True, kw_only=True):
    """A photograph for which a generator was named, and what spoke for it.

    Attributes:
        file: its name below the folder that holds its collection.
        looks, timesteps: shares of the embedding, see `Why`.
    """

    file: str
    generator: str
    p_value: float
    real_p_value: float | None
    looks: dict[str, float]
    timesteps: dict[int, float]


class VariantReport(Measures, frozen=True, kw_only=True, omit_defaults=True):
    """One variant of the bundle, or the error in its place.

    Attributes:
        compute: the arithmetic that it was computed in.
        by_source: verdicts per collection.
        accused: the real faces for which a generator was named, one by one.
        timestep_weights, look_weights: mean shares of the embedding over all images.
        unreadable: one line per file that gave no verdict.
    """

    engine: str
    device: str | None = None
    compute: str = "exact"
    error: str | None = None
    robustness: Robustness | None = None
    roc: list[Curve] = msgspec.field(default_factory=list)
    confusion: Confusion | None = None
    densities: Histogram | None = None
    by_source: list[SourceRow] = msgspec.field(default_factory=list)
    accused: list[AccusedFace] = msgspec.field(default_factory=list)
    timestep_weights: dict[int, float] = msgspec.field(default_factory=dict)
    look_weights: dict[str, float] = msgspec.field(default_factory=dict)
    unreadable: list[str] = msgspec.field(default_factory=list)


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
