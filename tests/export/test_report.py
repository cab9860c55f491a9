"""report.json says what a variant does, by the runtime's own rule."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from protoleak.bundle.bundle import Calibration
from protoleak.bundle.manifest import Density, Manifest, Preprocessing, Schedule
from protoleak.errors import CalibrationError
from protoleak.export.report import VariantOutputs, measure_variant
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


def test_accused_real_faces_are_counted_by_generator_and_stand_first_after_alpha() -> None:
    faces = outputs((0, 30), (0, 30), (1, 30), (2, 30), (0, -9))
    report = measure_variant(calibration_of(40, 40, 40), GENERATORS, "camera", 0.05, NOTHING, labels(), {}, faces)
    assert list(report)[:2] == ["alpha", "real_faces_accused"]
    accused = report["real_faces_accused"]
    assert (accused["count"], accused["of"], accused["share"]) == (3, 5, 0.6)
    assert accused["verdicts"] == {"known": 3, "real": 1, "unknown": 1}
    assert accused["accused_of"] == {"dawn": 2, "moss": 1}
    low, high = accused["interval_95"]
    assert low < 0.6 < high


def test_the_real_class_of_the_test_images_is_measured_too() -> None:
    test = outputs((2, 30), (0, 30), (2, -9), (0, 30))
    report = measure_variant(calibration_of(40, 40, 40), GENERATORS, "camera", 0.05, test, labels(2, 2, 2, 0), {}, None)
    assert (report["real_class_accused"]["count"], report["real_class_accused"]["of"]) == (1, 3)
    assert (report["false_rejection"]["count"], report["false_rejection"]["of"]) == (1, 4)
    assert "closed_set" not in report  # moss has no test image, so no AUC of it exists


def test_each_generator_has_the_bound_of_the_images_that_it_is_compared_with() -> None:
    calibration = calibration_of(40, 10, 60)
    report = measure_variant(calibration, GENERATORS, None, 0.05, NOTHING, labels(), {}, None)
    assert report["calibration"] == {
        "dawn": {"n": 40, "compared_with": "its own images", "bound_95": false_rejection_bound(40, 0.05)},
        "moss": {"n": 110, "compared_with": "all images", "bound_95": false_rejection_bound(110, 0.05)},
        "camera": {"n": 60, "compared_with": "its own images", "bound_95": false_rejection_bound(60, 0.05)},
    }


@pytest.mark.parametrize(
    ("sizes", "promised", "bound"),
    [
        ((5, 6, 9), 0.05, false_rejection_bound(20, 0.05)),  # all are compared with all: one list, its own bound
        ((40, 40, 40), 0.05, false_rejection_bound(40, 0.05, 1 - 0.05 / 3)),
        ((40, 3, 3), 0.1, false_rejection_bound(40, 0.05, 0.975) + false_rejection_bound(46, 0.05, 0.975)),
    ],
)
def test_the_promise_for_all_known_images_together_holds_whatever_lists_they_meet(
    sizes: tuple[int, int, int], promised: float, bound: float
) -> None:
    report = measure_variant(calibration_of(*sizes), GENERATORS, None, 0.05, outputs((0, 5)), labels(0), {}, None)
    assert report["false_rejection"]["promised_on_average"] == pytest.approx(promised)
    assert report["false_rejection"]["bound_95"] == pytest.approx(bound)
    assert report["false_rejection"]["calibration_images"] == sum(sizes)


def test_the_bound_holds_in_nineteen_of_twenty_calibrations() -> None:
    """Known images of three generators, normal log densities: the true rate of a calibration is known exactly."""
    from scipy.stats import norm

    random = np.random.default_rng(0)
    sizes, shares, broken, runs = (30, 25, 4), np.array([30, 25, 4]) / 59, 0, 400
    for _ in range(runs):
        groups = tuple(np.sort(random.normal(size=size)) for size in sizes)
        calibration = Calibration(np.sort(np.concatenate(groups)), groups, None)
        report = measure_variant(calibration, GENERATORS, None, 0.05, outputs((0, 0)), labels(0), {}, None)
        lists = [groups[0], groups[1], calibration.overall]
        # p ≤ α up to the k-th smallest calibration score, k = floor(α (n + 1)), which is 1, 1 and 3 here.
        rates = [norm.cdf(values[int(0.05 * (len(values) + 1)) - 1]) for values in lists]
        broken += float(shares @ rates) > report["false_rejection"]["bound_95"]
    assert broken <= 0.05 * runs


def test_perfect_scores_have_an_auc_of_one_and_swapped_generators_of_open_set_none() -> None:
    test = outputs(*[(label, 10.0 + index) for index, label in enumerate([0, 1, 2] * 4)])
    unknown = {"drawings": outputs((0, -5.0), (1, -6.0)), "twins": outputs((0, 40.0), (1, 41.0))}
    report = measure_variant(
        calibration_of(40, 40, 40), GENERATORS, "camera", 0.05, test, labels(*[0, 1, 2] * 4), unknown, None
    )
    assert report["closed_set"]["macro_auc_softmax"] == 1.0
    assert report["open_set"]["drawings"]["auroc"] == 1.0
    assert report["open_set"]["drawings"]["rejected"]["count"] == 2
    assert report["open_set"]["twins"]["auroc"] == 0.0
    assert report["open_set"]["twins"]["rejected"]["count"] == 0


def test_without_test_images_unknown_ones_are_still_counted() -> None:
    report = measure_variant(
        calibration_of(40, 40, 40), GENERATORS, None, 0.05, NOTHING, labels(), {"drawings": outputs((0, -5.0))}, None
    )
    assert report["open_set"]["drawings"]["rejected"]["count"] == 1
    assert "auroc" not in report["open_set"]["drawings"]
    assert "false_rejection" not in report


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, float("nan")])
def test_a_level_that_is_none_is_refused(alpha: float) -> None:
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        measure_variant(calibration_of(40, 40, 40), GENERATORS, None, alpha, NOTHING, labels(), {}, None)


def test_a_level_too_small_for_the_images_is_refused_with_the_smallest() -> None:
    with pytest.raises(CalibrationError, match=r"smallest possible alpha is 0\.1\b"):
        measure_variant(calibration_of(3, 3, 3), GENERATORS, None, 0.05, NOTHING, labels(), {}, None)
