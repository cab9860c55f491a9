"""The files of a bundle that an export writes."""

from __future__ import annotations

from collections.abc import Mapping

from protoleak.bundle.class_statistics import CLASS_STATISTICS
from protoleak.bundle.enrolment import ENROLMENT, ScoreConstants
from protoleak.bundle.reader import FACE_DETECTOR, NOISE_BANK, PROTOTYPES
from protoleak.bundle.writer import array_bytes
from protoleak.calibration.posterior import PosteriorDensity
from protoleak.export.fit import Fitted
from protoleak.export.inputs import ExportInputs
from protoleak.export.precisions.build import BuiltVariant, variant_files
from protoleak.export.weight_storage import stored_small
from protoleak.model.checkpoint import TrainedModel


def bundle_files(
    model: TrainedModel, inputs: ExportInputs, variants: Mapping[str, BuiltVariant], fitted: Fitted, *, narrow: bool
) -> dict[str, bytes]:
    """Every file of the bundle but its manifest and those of computes, by path.

    Args:
        narrow: the attributor's large weights were rounded to float16, and are stored so.
    """
    files = {
        NOISE_BANK: array_bytes(model.config.noise_bank()),
        PROTOTYPES: array_bytes(model.attributor.prototypes.detach().numpy()),
    }
    if inputs.face_detector is not None:
        files[FACE_DETECTOR] = inputs.face_detector
    for_enrolment = _enrolment_files(fitted)
    files |= for_enrolment
    for name, variant in variants.items():
        files |= variant_files(name, stored_small(variant) if narrow else variant, bool(for_enrolment))
    return files


def _enrolment_files(fitted: Fitted) -> dict[str, bytes]:
    """What a generator can be enrolled with: for the prototypes' own class score and density. None for others."""
    density = fitted.density
    if fitted.statistics is None or not isinstance(density, PosteriorDensity):
        return {}
    constants = ScoreConstants(density.temperature, density.floor)
    return {ENROLMENT: constants.to_bytes(), CLASS_STATISTICS: fitted.statistics.to_bytes()}
