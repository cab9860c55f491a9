"""One variant on all images that serve an export: its own calibration, and what it was measured to do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protoleak.bundle.calibration import Calibration
from protoleak.bundle.class_statistics import ClassStatistics
from protoleak.bundle.enrolment import LARGEST_RECORD, Record
from protoleak.bundle.manifest import Manifest
from protoleak.bundle.report import BundleReport
from protoleak.calibration.conformal_fit import LeftOutMargins, calibrate
from protoleak.calibration.temperature import fit_temperature
from protoleak.errors import DatasetError
from protoleak.export.images import ImageSet
from protoleak.export.report import Measured, VariantOutputs, measure_variant
from protoleak.export.runner import ImagesRun, VariantRunner
from protoleak.progress import Progress


@dataclass(frozen=True)
class EvaluationImages:
    """What every variant is run on: three splits, images of generators that the model doesn't know, and photographs of
    people from sources that training never saw."""

    validation: ImageSet
    calibration: ImageSet
    test: ImageSet
    unknown: tuple[ImageSet, ...]
    real_faces: ImageSet | None


@dataclass(frozen=True)
class EvaluationSetup:
    """What every variant of a bundle is evaluated with.

    Attributes:
        manifest: of the bundle so far.
        images: what a variant is run on.
        alpha: significance level that it is measured at.
        left_out: what the decision's margins are taken from; None for the calibration images themselves.
        accusation_share: of α, at which a generator may be named.
        statistics: of the classes; None where no generator can be enrolled.
    """

    manifest: Manifest
    images: EvaluationImages
    alpha: float
    left_out: LeftOutMargins | None
    accusation_share: float
    statistics: ClassStatistics | None


@dataclass(frozen=True)
class Evaluation:
    """What a variant gave.

    Attributes:
        calibration: from its own outputs: temperature from the validation split, ranks from the calibration split.
        record: what it gave for the calibration images, so that a generator can be enrolled later.
        measured: what it gave for the readable images of the sets that it is measured on.
        report: as `report.measure_variant` makes it; how the variant was made is added later.
        used: readable images per split.
        skipped: one line per file that is no readable image.
    """

    calibration: Calibration
    record: Record
    measured: Measured
    report: BundleReport
    used: dict[str, int]
    skipped: tuple[str, ...]


def evaluate(variant: str, runner: VariantRunner, setup: EvaluationSetup, progress: Progress) -> Evaluation:
    """Runs a variant on every image, calibrates it and measures it at α.

    Raises:
        EngineError: an output is not finite.
        DatasetError: a set of unknown images or real faces has no readable image.
        CalibrationError: no calibration image can be read, or too few for α.
    """
    skipped: list[str] = []

    def run_all(image_set: ImageSet) -> tuple[ImagesRun, npt.NDArray[np.int64]]:
        paths = image_set.paths
        found = runner.run(paths, lambda done: progress(f"run on {image_set.name} images", done, len(paths)))
        skipped.extend(image_set.lines(found.skipped))
        return found, image_set.labels[list(found.kept)]

    def run(image_set: ImageSet) -> tuple[VariantOutputs, npt.NDArray[np.int64]]:
        found, labels = run_all(image_set)
        return found.outputs, labels

    def run_others(image_set: ImageSet) -> VariantOutputs:
        outputs, labels = run(image_set)
        if not len(labels):
            raise DatasetError(f"{image_set.folder} holds no readable image: give a folder of images, or leave it out")
        return outputs

    manifest, images = setup.manifest, setup.images
    validation, validation_labels = run(images.validation)
    calibration_run, calibration_labels = run_all(images.calibration)
    held_out = calibration_run.outputs
    test, test_labels = run(images.test)
    unknown = {image_set.name: run_others(image_set) for image_set in images.unknown}
    real_faces = None if images.real_faces is None else run_others(images.real_faces)
    temperature = fit_temperature(validation.class_score, validation_labels)
    calibration = calibrate(
        held_out.log_density,
        held_out.class_score,
        manifest.generators,
        temperature,
        calibration_labels,
        manifest.real_class,
        setup.left_out,
        setup.accusation_share,
    )
    measured = Measured(test, test_labels, unknown, real_faces)
    report = measure_variant(variant, calibration, manifest.generators, manifest.real_class, setup.alpha, measured)
    used = {
        "validation": len(validation_labels),
        "calibration": len(calibration_labels),
        "test": len(test_labels),
    }
    of_calibration = calibration_run.statistics, calibration_run.embedding
    record = Record.of(
        calibration_run.embedding,
        calibration_run.gate,
        held_out.class_score,
        held_out.log_density,
        calibration_labels,
        None if setup.statistics is None else setup.statistics.features(*of_calibration),
    ).within(LARGEST_RECORD)
    return Evaluation(calibration, record, measured, report, used, tuple(skipped))
