"""What a bundle is made with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from protoleak.calibration.density import DensitySpace
from protoleak.calibration.heads import HeadKind
from protoleak.export.graphs import DEFAULT_OPSET


@dataclass(frozen=True)
class ExportSettings:
    """What a bundle is made with.

    Attributes:
        alpha: significance level that the report is measured at; any other can be used with the bundle.
        unknown: folder of images of generators that the model does not know, one folder per generator, or None.
        real_faces: photographs of people from sources that training never saw, or None.
        cache: of latents; None for none.
    """

    name: str
    head: HeadKind = "prototype"
    density_space: DensitySpace = "whitened"
    alpha: float = 0.05
    opset: int = DEFAULT_OPSET
    unknown: Path | None = None
    real_faces: Path | None = None
    cache: Path | None = None
