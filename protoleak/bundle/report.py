"""report.json of a variant in a bundle: how it was made, and what it was measured to do where it was exported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from protoleak.errors import BundleError
from protoleak.metrics.report import Measures
from protoleak.strict_json import decode_json, json_bytes

Stage: TypeAlias = Literal["latent_encoder", "attributor"]


class CalibrationList(msgspec.Struct, frozen=True):
    """The calibration images that a class's images are compared with.

    Attributes:
        n: how many they are.
        compared_with: "its own images" or "all images".
        bound_95: what the rate of false rejections exceeds only with 5 % probability.
    """

    n: int
    compared_with: str
    bound_95: float


class OutputParity(msgspec.Struct, frozen=True):
    """How one output of the exported graphs compares with PyTorch's on real images.

    Attributes:
        maximum, mean: absolute differences.
        relative: the largest absolute difference over the largest magnitude that PyTorch gave.
    """

    output: str
    maximum: float
    mean: float
    relative: float
    passes: bool


class GateLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a variant besides fp32 may change.

    Attributes:
        generator_agreement: least share of test images whose best class is the same as in fp32.
        verdict_agreement: least share of all held-out images (test, unknown, photographs) that both call unknown or
            both don't. Lower than the other: p-values are ranks, so an image at the threshold changes sides with the
            calibration images next to it, though nothing is less accurate for it.
        auc_drop: largest fall of either macro AUC, and of the AUROC of known against each set of unknown images.
    """

    generator_agreement: float = 0.99
    verdict_agreement: float = 0.97
    auc_drop: float = 0.005


class GateResult(msgspec.Struct, frozen=True):
    """How a variant compares with fp32 on held-out images.

    Attributes:
        images: of the test split.
        all_images: these, the unknown and the real faces.
        generator_agreement, verdict_agreement: see `GateLimits`.
        macro_auc_drop, macro_auc_softmax_drop: fp32's minus the variant's; None where a generator has no test image.
        auroc_drop: of known against each set of unknown images, and against "(real faces)".
        largest_score_change: of any class score, in its own units.
        largest_log_density_change: in nats.
        real_faces_accused: photographs of people that are called a generator's, in fp32 and in the variant, which must
            not be more; None where none were given.
        limits: that the variant was held to.
        failures: one phrase per limit that it breaks.
    """

    images: int
    all_images: int
    generator_agreement: float
    verdict_agreement: float
    macro_auc_drop: float | None
    macro_auc_softmax_drop: float | None
    auroc_drop: dict[str, float]
    largest_score_change: float
    largest_log_density_change: float
    real_faces_accused: tuple[int, int] | None
    limits: GateLimits
    failures: list[str]

    @property
    def passes(self) -> bool:
        return not self.failures


class LayerNoise(msgspec.Struct, frozen=True):
    """A layer's own quantisation error.

    Attributes:
        stage: the graph that it is in.
        layer: its label.
        signal_to_noise_db: 10·log10 of the embedding's variance over the images to the mean square change of the
            embedding when this layer alone is int8. The variance and not the size, since a part of an embedding that
            all images share tells nothing.
    """

    stage: Stage
    layer: str
    signal_to_noise_db: float


class Precisions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the graphs of a variant besides fp32 were made.

    Attributes:
        layers: graph → precision → labels of the layers that compute in it.
        images: calibration images that magnitudes or ranges were measured on.
        range_method: how int8's ranges were chosen from what was measured.
        returned_to_fp32: the layers that int8 harmed most and that were given back.
    """

    layers: dict[Stage, dict[str, list[str]]]
    images: int
    range_method: str | None = None
    returned_to_fp32: list[LayerNoise] = []


class BundleReport(Measures, frozen=True, kw_only=True, omit_defaults=True):
    """report.json: the measures without intervals over resamples, and how the variant was made.

    Attributes:
        alpha: significance level that it was measured at.
        engine, compute: that it was measured in.
        calibration: class → what its images are compared with.
        thresholds: class → the log density below which an image nearest to it is called unknown at α.
        parity: of the exported graphs; of fp32 alone.
        size: file → bytes, of both graphs.
        gate: how it compares with fp32 in exact computing; None for that itself.
        precisions: None for fp32.
    """

    alpha: float
    engine: str = "onnxruntime"
    compute: str = "exact"
    calibration: dict[str, CalibrationList] = msgspec.field(default_factory=dict)
    thresholds: dict[str, float] = msgspec.field(default_factory=dict)
    parity: list[OutputParity] = msgspec.field(default_factory=list)
    size: dict[str, int] = msgspec.field(default_factory=dict)
    gate: GateResult | None = None
    precisions: Precisions | None = None

    @property
    def accused(self) -> tuple[int, int] | None:
        """Photographs of real faces for which a generator was named, and all; None where that was not measured."""
        return None if self.real_faces is None else (self.real_faces.accused.count, self.real_faces.accused.of)

    def to_json(self) -> bytes:
        """The file, indented."""
        return json_bytes(self)


def accusations(accused: tuple[int, int] | None, changes: Sequence[str] = ()) -> str:
    """What was measured of wrong accusations, as a sentence for whoever reads a verdict.

    Args:
        accused: photographs of real faces for which a generator was named, and all of them; None where that was not
            measured.
        changes: what was done to the bundle since, see `Manifest.changes`.
    """
    if accused is None:
        return "How often this bundle names a generator for a real face was not measured: treat every naming so."
    count, of = accused
    before = f" before {' and '.join(changes)}" if changes else ""
    return (
        f"In this bundle's own test{before}, {count} of {of} photographs of real faces, from sources that training "
        "never saw, were wrongly called known."
    )


def parse_report(data: bytes, where: str) -> BundleReport:
    """Reads a report.json; fields of a later protoleak are left out.

    Raises:
        BundleError: it is no report.
    """
    try:
        return decode_json(data, BundleReport)
    except msgspec.DecodeError as error:
        raise BundleError(f"{where} is not a report: {error}; export the bundle again") from error
