"""report.json says what a variant does, by the runtime's own rule."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from protoleak.bundle.calibration import Calibration
from protoleak.bundle.manifest import Density, Manifest, Preprocessing, Schedule
from protoleak.bundle.report import BundleReport, CalibrationList, parse_report
from protoleak.errors import BundleError, CalibrationError
from protoleak.export.report import Measured, VariantOutputs, measure_variant
from protoleak.runtime.conformal import false_rejection_bound
from protoleak.runtime.decision import DecisionRule

GENERATORS = ["dawn", "moss", "camera"]


def calibration_of(*sizes: int) -> Calibration:
    """Log densities 0, 1, 2 … of each generator."""
    groups = tuple(np.arange(size, dtype=np.float64) for size in sizes)
    return Calibration(np.sort(np.concatenate(groups)), groups, None)


def outputs(*images: tuple[int, float]) -> VariantOutputs:
    """Of images given as (predicted generator, log density)."""
    predicted = [label for label, _ in images]
    scores = np.eye(len(GENERATORS), dtype=np.float32)[predicted]
    return VariantOutputs(scores, np.array([density for _, density in images], dtype=np.float32))


def labels(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def measured(
    calibration: Calibration,
    real: str | None = None,
    test: VariantOutputs | None = None,
    test_labels: npt.NDArray[np.int64] | None = None,
    unknown: dict[str, VariantOutputs] | None = None,
    faces: VariantOutputs | None = None,
    alpha: float = 0.05,
) -> BundleReport:
    of = Measured(test or NOTHING, labels() if test_labels is None else test_labels, unknown or {}, faces)
    return measure_variant("fp32", calibration, GENERATORS, real, alpha, of)


NOTHING = VariantOutputs(np.zeros((0, 3), dtype=np.float32), np.zeros(0, dtype=np.float32))


def test_verdicts_are_those_of_the_runtime() -> None:
    calibration = calibration_of(40, 10, 40)
    random = np.random.default_rng(0)
    images = VariantOutputs(
        random.normal(size=(200, 3)).astype(np.float32), random.uniform(-5, 20, 200).astype(np.float32)
    )
    manifest = Manifest(
        schema_version=1, name="m", created="", generators=GENERATORS, real_class="camera",
        preprocessing=Preprocessing(), schedule=Schedule(), timesteps=[0], noise_seed=0, low_frequency=None,
        latent_shape=(4, 8, 8), embedding_size=4, prototypes_per_generator=1, head="prototype",
        density=Density("gated", 1.0, 1.0, 1), provenance={}, variants=["fp32"], files={},
    )  # fmt: skip
    rule = DecisionRule(manifest.generators, manifest.real_class, calibration, 0.05)
    expected = [
        rule.decide(score, float(density)).label
        for score, density in zip(images.class_score, images.log_density, strict=True)
    ]
    assert set(expected) == {"known", "real", "unknown"}
    assert images.verdicts(calibration, GENERATORS, "camera", 0.05) == expected


def test_accused_real_faces_are_counted_by_generator_and_stand_first() -> None:
    faces = outputs((0, 30), (0, 30), (1, 30), (2, 30), (0, -9))
    report = measured(calibration_of(40, 40, 40), "camera", faces=faces)
    assert list(msgspec.to_builtins(report))[:2] == ["variant", "real_faces"]
    assert report.real_faces is not None
    accused = report.real_faces.accused
    assert (accused.count, accused.of, accused.share) == (3, 5, 0.6)
    assert report.real_faces.verdicts == {"known": 3, "real": 1, "unknown": 1}
    assert report.real_faces.accused_of == {"dawn": 2, "moss": 1}
    low, high = accused.interval_95
    assert low < 0.6 < high


def test_the_real_class_of_the_test_images_is_measured_too() -> None:
    test = outputs((2, 30), (0, 30), (2, -9), (0, 30))
    report = measured(calibration_of(40, 40, 40), "camera", test, labels(2, 2, 2, 0))
    assert report.real_class is not None
    assert (report.real_class.count, report.real_class.of) == (1, 3)
    assert report.false_rejection is not None
    assert (report.false_rejection.rejected.count, report.false_rejection.rejected.of) == (1, 4)
    assert report.closed_set is not None
    assert report.closed_set.macro_auc_softmax.value is None  # moss has no test image, so no AUC of it exists
    assert report.closed_set.macro_auc_softmax.missing == "no image of moss"


def test_each_generator_has_the_bound_of_the_images_that_it_is_compared_with() -> None:
    assert measured(calibration_of(40, 10, 60)).calibration == {
        "dawn": CalibrationList(40, "its own images", false_rejection_bound(40, 0.05)),
        "moss": CalibrationList(110, "all images", false_rejection_bound(110, 0.05)),
        "camera": CalibrationList(60, "its own images", false_rejection_bound(60, 0.05)),
    }


def test_a_report_is_read_as_it_was_written() -> None:
    report = measured(calibration_of(40, 40, 40), "camera", outputs((0, 5), (1, 5), (2, 5)), labels(0, 1, 2))
    assert parse_report(report.to_json(), "here") == report


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"variant": "fp32", "alpha": "much"}'])
def test_what_is_no_report_is_refused_with_the_place(data: bytes) -> None:
    with pytest.raises(BundleError, match="here is not a report"):
        parse_report(data, "here")


def test_perfect_scores_have_an_auc_of_one_and_swapped_generators_of_open_set_none() -> None:
    test = outputs(*[(label, 10.0 + index) for index, label in enumerate([0, 1, 2] * 4)])
    unknown = {"drawings": outputs((0, -5.0), (1, -6.0)), "twins": outputs((0, 40.0), (1, 41.0))}
    report = measured(calibration_of(40, 40, 40), "camera", test, labels(*[0, 1, 2] * 4), unknown)
    assert report.closed_set is not None
    assert report.closed_set.macro_auc_softmax.value == 1.0
    for name, auroc, rejected in (("drawings", 1.0, 2), ("twins", 0.0, 0)):
        found = report.unknown[name]
        assert found.open_set is not None
        assert found.open_set.auroc.value == auroc
        assert found.rejected.count == rejected


def test_without_test_images_unknown_ones_are_still_counted() -> None:
    report = measured(calibration_of(40, 40, 40), unknown={"drawings": outputs((0, -5.0))})
    assert report.unknown["drawings"].rejected.count == 1
    assert report.unknown["drawings"].open_set is None
    assert report.false_rejection is None


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, float("nan")])
def test_a_level_that_is_none_is_refused(alpha: float) -> None:
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        measured(calibration_of(40, 40, 40), alpha=alpha)


def test_a_level_too_small_for_the_images_is_refused_with_the_smallest() -> None:
    with pytest.raises(CalibrationError, match=r"smallest possible alpha is 0\.1\b"):
        measured(calibration_of(3, 3, 3))
