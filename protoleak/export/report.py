"""What a variant does on images: measured with the very graphs that are written, by the runtime's executor.

Real faces accused come first, here as everywhere: the worst error of this software is to name a generator for a
photograph of a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float32Array, softmax
from protoleak.bundle.calibration import Calibration
from protoleak.bundle.report import BundleReport, CalibrationList
from protoleak.metrics.classes import Classes
from protoleak.metrics.intervals import Resamples
from protoleak.metrics.measures import measure
from protoleak.metrics.predictions import Predictions
from protoleak.runtime import conformal
from protoleak.runtime.decision import Decision, DecisionRule


@dataclass(frozen=True)
class VariantOutputs:
    """What a variant gave for n images: class_score float32 [n, K] and log_density float32 [n]."""

    class_score: Float32Array
    log_density: Float32Array

    def verdicts(
        self, calibration: Calibration, generators: Sequence[str], real: str | None, alpha: float
    ) -> list[str]:
        """ "known", "real" or "unknown" of each image, by the runtime's rule."""
        return [decision.label for decision in self.decisions(calibration, generators, real, alpha)]

    def decisions(
        self, calibration: Calibration, generators: Sequence[str], real: str | None, alpha: float
    ) -> list[Decision]:
        """What the runtime says of each image."""
        rule = DecisionRule(generators, real, calibration, alpha)
        pairs = zip(self.class_score, self.log_density, strict=True)
        return [rule.decide(score, float(density)) for score, density in pairs]


@dataclass(frozen=True)
class Measured:
    """What a variant gave for the images that it is measured on.

    Attributes:
        test, labels: of images of known generators that nothing has seen; may be empty. int64 [n].
        unknown: per unseen generator.
        real_faces: photographs of people from sources that training never saw, or None.
    """

    test: VariantOutputs
    labels: npt.NDArray[np.int64]
    unknown: Mapping[str, VariantOutputs]
    real_faces: VariantOutputs | None


def measure_variant(
    variant: str,
    calibration: Calibration,
    generators: Sequence[str],
    real: str | None,
    alpha: float,
    measured: Measured,
) -> BundleReport:
    """report.json of a variant: what it was measured to do at α.

    Raises:
        CalibrationError: α is outside (0, 1), or too small for the calibration images.
    """
    predictions = predictions_of(measured, calibration, generators, real, alpha)
    promise = conformal.promise(calibration, alpha)
    measures = measure(variant, predictions, list(measured.unknown), promise, Resamples.none())
    return BundleReport(
        **msgspec.structs.asdict(measures),
        alpha=alpha,
        calibration=calibration_lists(calibration, generators, alpha),
        thresholds=thresholds(calibration, generators, alpha),
    )


def predictions_of(
    measured: Measured, calibration: Calibration, generators: Sequence[str], real: str | None, alpha: float
) -> Predictions:
    """The verdicts on all images, by the runtime's rule with the variant's own calibration."""
    faces = [] if measured.real_faces is None else [measured.real_faces]
    parts = [measured.test, *measured.unknown.values(), *faces]
    sizes = [len(part.log_density) for part in parts]
    decisions = [decision for part in parts for decision in part.decisions(calibration, generators, real, alpha)]
    kinds = ["known", *["unknown"] * len(measured.unknown), *["real"] * len(faces)]
    folders = [*measured.unknown, *[""] * len(faces)]
    class_score = np.concatenate([part.class_score for part in parts]).astype(np.float64)
    temperature = calibration.temperature
    return Predictions(
        classes=Classes.of(generators, real),
        kinds=np.repeat(kinds, sizes),
        folders=np.concatenate(
            [np.array(generators, dtype=np.str_)[measured.labels], np.repeat(np.array(folders, np.str_), sizes[1:])]
        ),
        labels=np.concatenate([measured.labels, np.full(sum(sizes[1:]), -1, dtype=np.int64)]),
        sources=tuple(str(index) for index in range(sum(sizes))),
        class_score=class_score,
        probability=None if temperature is None else softmax(class_score / temperature),
        log_density=np.concatenate([part.log_density for part in parts]).astype(np.float64),
        rejected=np.array([decision.p_value <= alpha for decision in decisions], dtype=np.bool_),
        verdicts=np.array([decision.label for decision in decisions], dtype=np.str_),
    )


def calibration_lists(calibration: Calibration, generators: Sequence[str], alpha: float) -> dict[str, CalibrationList]:
    """Per generator, the calibration images that its images are compared with, and what they promise.

    Raises:
        CalibrationError: α is too small for the calibration images.
    """
    found = {}
    for index, name in enumerate(generators):
        densities, kind = conformal.group(calibration, index, alpha)
        compared_with = "its own images" if kind == "generator" else "all images"
        bound = conformal.false_rejection_bound(len(densities), alpha)
        found[name] = CalibrationList(len(densities), compared_with, bound)
    return found


def thresholds(calibration: Calibration, generators: Sequence[str], alpha: float) -> dict[str, float]:
    """Per generator, the log density below which an image attributed to it is called unknown at α: the k-th smallest of
    its n calibration log densities with k = floor(α (n + 1)), since p ≤ α then and only then.

    Raises:
        CalibrationError: α is too small for the calibration images.
    """
    found = {}
    for index, name in enumerate(generators):
        densities, _ = conformal.group(calibration, index, alpha)
        found[name] = float(densities[conformal.rejecting_ranks(len(densities), alpha) - 1])
    return found
