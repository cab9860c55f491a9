"""What a bundle is made with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from protoleak.bundle.report import GateLimits
from protoleak.calibration.density import DensitySpace
from protoleak.calibration.heads import HeadKind
from protoleak.export.graphs import DEFAULT_OPSET
from protoleak.export.precisions.int8 import RangeMethod

Precision = Literal["fp16", "int8"]
# With auxiliary generators: benchmarks/results/open_set.json and docs/decisions/0012-contrast.md.
DEFAULT_CONTRAST, CONTRASTED_BANDWIDTH = 0.2, 1.5
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class VariantSettings:
    """How the variants besides fp32 are made.

    Attributes:
        calibration_images: of the calibration split, at most, that activation ranges are measured on for int8.
        method: how a range is chosen from what was measured.
        limits: of the gate.
    """

    calibration_images: int = 64
    method: RangeMethod = "minmax"
    limits: GateLimits = field(default_factory=GateLimits)


@dataclass(frozen=True)
class ExportSettings:
    """What a bundle is made with.

    Attributes:
        bandwidth: of the density, in median nearest-neighbour distances. None for CONTRASTED_BANDWIDTH where there are
            auxiliary generators, else for the one of greatest held-out likelihood.
        auxiliary: folder with a folder of images per generator that the model learnt and doesn't name, or None.
        contrast: how much the log density of the auxiliary generators counts; nothing without any.
        alpha: significance level that the report is measured at; any other can be used with the bundle.
        unknown: folder of images of generators that the model does not know, one folder per generator, or None.
        real_faces: photographs of people from sources that training never saw, or None.
        face_detector: a YuNet ONNX file that goes into the bundle, or None.
        cache: of latents; None for none.
        variants: which of fp16 and int8 to try; fp32 is always written.
        variant_settings: how they are made.
    """

    name: str
    head: HeadKind = "prototype"
    density_space: DensitySpace = "whitened"
    bandwidth: float | None = None
    auxiliary: Path | None = None
    contrast: float = DEFAULT_CONTRAST
    alpha: float = 0.05
    opset: int = DEFAULT_OPSET
    unknown: Path | None = None
    real_faces: Path | None = None
    face_detector: Path | None = None
    cache: Path | None = None
    variants: tuple[Precision, ...] = ()
    variant_settings: VariantSettings = field(default_factory=VariantSettings)

    @property
    def density_bandwidth(self) -> float | None:
        """What `bandwidth` comes to, as `fit_density` takes it."""
        contrasted = self.auxiliary is not None and self.contrast > 0
        return CONTRASTED_BANDWIDTH if self.bandwidth is None and contrasted else self.bandwidth
