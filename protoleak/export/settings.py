"""What a bundle is made with."""

from __future__ import annotations

from pathlib import Path

import msgspec

from protoleak.bundle.report import GateLimits
from protoleak.choices import (
    ARITHMETICS,
    DENSITY_SPACES,
    HEAD_KINDS,
    PRECISIONS,
    RANGE_METHODS,
    STEMS,
    WEIGHT_TYPES,
    Arithmetic,
    DensitySpace,
    HeadKind,
    Precision,
    RangeMethod,
    Stem,
    WeightType,
    check_choice,
)
from protoleak.errors import SettingError

DEFAULT_OPSET, SMALLEST_OPSET = 20, 18  # TensorRT 10.3 (JetPack 6.2) predates opset 21
# With auxiliary generators: benchmarks/results/open_set.json and docs/decisions/0012-contrast.md.
DEFAULT_CONTRAST, CONTRASTED_BANDWIDTH = 0.2, 1.5


class VariantSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the variants besides fp32 are made.

    Attributes:
        calibration_images: of the calibration split, at most, that activation ranges are measured on for int8.
        method: how a range is chosen from what was measured.
        limits: of the gate, which a variant must pass to be written.
    """

    calibration_images: int = 64
    method: RangeMethod = "minmax"
    limits: GateLimits = GateLimits()

    def __post_init__(self) -> None:
        check_choice("method", self.method, RANGE_METHODS)
        if self.calibration_images < 1:
            raise SettingError("calibration_images", f"is {self.calibration_images}: give 1 or more")
        for name in ("generator_agreement", "verdict_agreement"):
            share = getattr(self.limits, name)
            if not 0 <= share <= 1:
                raise SettingError(name, f"is {share:g}: give a share between 0 and 1, such as 0.99")


class ExportSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a bundle is made with.

    Attributes:
        name: of the bundle; none for that of its file or folder.
        head: what scores classes.
        density_space: "whitened", or "gated" for the published raw one; "posterior" for the density of the learnt
            prototypes, which needs no reference images.
        density_floor: of the posterior density, the quantile of the training images' best class scores below which
            distance counts; from 0 to 1, and 1 lets it count for every image.
        bandwidth: of the density, in median nearest-neighbour distances; none for 1.5 where there are auxiliary
            generators, else for the one of greatest held-out likelihood.
        auxiliary: folder with a folder of images per generator that the model learnt and doesn't name, or none.
        contrast: how much the log density of the auxiliary generators counts, from 0 to 1; nothing without any.
        alpha: significance level that the report is measured at and that the bundle is screened at, if no other one is
            asked for.
        opset: ONNX opset of the graphs.
        stem: whether the network's first operation is taken of z0 once, above the noise, instead of each timestep's
            z_t: "auto" does so where it was measured to be faster.
        attributor_weights: the type in which the attributor's large weights are stored and to which they are rounded
            before anything is measured; computing is float32 with either.
        unknown: folder of images of generators that the model does not know, one folder per generator, to measure on,
            or none.
        photographs: folder of photographs of people from sources that training never saw, to measure on, or none.
        face_detector: a YuNet ONNX file that goes into the bundle, or none.
        left_out: an .npz with the real margins "camera" and "generated" of images by networks that did not see their
            source or generator, which decide at what margin a generator or `real` may be said; none for the margins of
            the calibration images of the real class alone.
        accusation_share: of α, in (0, 1]: the level among camera originals at which a generator may be named.
        variants: precisions to try besides fp32, which is always written.
        computes: arithmetic to try beside exact computing, in the engines for the processor that can run it here; it is
            calibrated where it passes the gate. Without a test split nothing can be tried.
        variant_settings: how they are made.
    """

    name: str | None = None
    head: HeadKind = "prototype"
    density_space: DensitySpace = "whitened"
    density_floor: float = 0.01  # as calibration.posterior.FLOOR_QUANTILE, which needs SciPy
    bandwidth: float | None = None
    auxiliary: Path | None = None
    contrast: float = DEFAULT_CONTRAST
    alpha: float = 0.05
    opset: int = DEFAULT_OPSET
    stem: Stem = "auto"
    attributor_weights: WeightType = "float32"
    unknown: Path | None = None
    photographs: Path | None = None
    face_detector: Path | None = None
    left_out: Path | None = None
    accusation_share: float = 0.2  # as bundle.calibration.ACCUSATION_SHARE, which needs NumPy
    variants: tuple[Precision, ...] = ()
    computes: tuple[Arithmetic, ...] = ("bf16",)
    variant_settings: VariantSettings = VariantSettings()

    def __post_init__(self) -> None:
        check_choice("head", self.head, HEAD_KINDS)
        check_choice("density_space", self.density_space, DENSITY_SPACES)
        check_choice("stem", self.stem, STEMS)
        check_choice("attributor_weights", self.attributor_weights, WEIGHT_TYPES)
        for variant in self.variants:
            check_choice("variant", variant, PRECISIONS)
        for compute in self.computes:
            check_choice("compute", compute, ARITHMETICS)
        if self.bandwidth is not None and not self.bandwidth > 0:
            remedy = "give a number above 0, in distances to the nearest neighbour"
            raise SettingError("bandwidth", f"is {self.bandwidth:g}: {remedy}")
        if not 0 <= self.density_floor <= 1:
            raise SettingError("density_floor", f"is {self.density_floor:g}: give a quantile from 0 to 1")
        if not 0 <= self.contrast <= 1:
            raise SettingError("contrast", f"is {self.contrast:g}: give a number from 0 (none) to 1")
        if not 0 < self.accusation_share <= 1:
            raise SettingError("accusation_share", f"is {self.accusation_share:g}: give a share of alpha, in (0, 1]")
        if self.opset < SMALLEST_OPSET:
            raise SettingError("opset", f"is {self.opset}: give {SMALLEST_OPSET} or more")

    @property
    def density_bandwidth(self) -> float | None:
        """What `bandwidth` comes to, as `fit_density` takes it."""
        contrasted = self.auxiliary is not None and self.contrast > 0
        return CONTRASTED_BANDWIDTH if self.bandwidth is None and contrasted else self.bandwidth
