"""What passes the gate and what doesn't, from outputs alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from protoleak.bundle.enrolment import Record
from protoleak.bundle.report import BundleReport, GateLimits, GateResult
from protoleak.calibration.conformal_fit import calibrate
from protoleak.errors import DatasetError
from protoleak.export.calibrate import Evaluation
from protoleak.export.precisions.gate import compare_variants
from protoleak.export.report import Measured, VariantOutputs, thresholds
from protoleak.runtime import conformal

GENERATORS = ("ash", "birch", "camera")
IMAGES = 200  # per set


def evaluation(shift: float = 0.0, noise: float = 0.0, *, unknown: bool = True) -> Evaluation:
    """A variant's outputs: those of fp32 plus a common shift of log densities and noise on everything."""
    random, disturbance = np.random.default_rng(3), np.random.default_rng(4)

    def outputs(labels: np.ndarray, density: float) -> VariantOutputs:
        score = random.normal(size=(len(labels), 3)) + 4 * np.eye(3)[labels]
        log_density = random.normal(loc=density, size=len(labels)) + shift
        score += noise * disturbance.normal(size=score.shape)
        log_density += noise * disturbance.normal(size=len(labels))
        return VariantOutputs(score.astype(np.float32), log_density.astype(np.float32))

    labels = np.arange(IMAGES) % 3
    held_out, test = outputs(labels, 0.0), outputs(labels, 0.0)
    sets = {"drawings": outputs(labels, -3.0)} if unknown else {}
    faces = outputs(labels, -1.0)
    calibration = calibrate(held_out.log_density, held_out.class_score, GENERATORS, None, labels, None)
    report = BundleReport(variant="fp32", alpha=0.05)
    nothing = np.zeros((IMAGES, 1))
    record = Record.of(nothing, nothing, held_out.class_score, held_out.log_density, labels)
    return Evaluation(calibration, record, Measured(test, labels, sets, faces), report, {}, ())


def gate(candidate: Evaluation, limits: GateLimits | None = None) -> GateResult:
    return compare_variants(evaluation(), candidate, GENERATORS, "camera", 0.05, limits or GateLimits())


def with_scores(found: Evaluation, wrong: int) -> Evaluation:
    """The first `wrong` test images attributed to the next generator."""
    score = found.measured.test.class_score.copy()
    score[:wrong] = np.roll(score[:wrong], 1, axis=1)
    return changed(found, test=VariantOutputs(score, found.measured.test.log_density))


def changed(found: Evaluation, **measured: Any) -> Evaluation:
    """With other outputs."""
    return replace(found, measured=replace(found.measured, **measured))


def test_the_same_outputs_pass_with_nothing_changed() -> None:
    result = gate(evaluation())
    assert result.passes
    assert (result.generator_agreement, result.verdict_agreement) == (1.0, 1.0)
    assert (result.macro_auc_drop, result.macro_auc_softmax_drop) == (0.0, 0.0)
    assert result.auroc_drop == {"drawings": 0.0, "(real faces)": 0.0}
    assert (result.largest_score_change, result.largest_log_density_change) == (0.0, 0.0)
    assert (result.images, result.all_images) == (IMAGES, 3 * IMAGES)
    assert result.real_faces_accused is not None
    assert result.real_faces_accused[0] == result.real_faces_accused[1]


@pytest.mark.parametrize(("wrong", "passes"), [(2, True), (3, False)])
def test_the_generator_may_differ_on_one_percent_of_the_test_images(wrong: int, passes: bool) -> None:
    result = gate(with_scores(evaluation(), wrong), GateLimits(auc_drop=1.0, verdict_agreement=0.0))
    assert result.generator_agreement == 1 - wrong / IMAGES
    assert result.passes == passes
    if not passes:
        assert result.failures == ["the generator agrees with fp32 on 98.50% of the images, below 99.00%"]


def test_a_variant_is_judged_with_its_own_calibration() -> None:
    """All log densities 10 nats higher: against fp32's thresholds nothing would be unknown any more."""
    moved = evaluation(shift=10.0)
    result = gate(moved)
    assert result.passes
    assert result.largest_log_density_change == pytest.approx(10.0, abs=1e-5)
    uncalibrated = gate(replace(moved, calibration=evaluation().calibration))
    assert uncalibrated.verdict_agreement < 0.8
    assert any("known or unknown" in failure for failure in uncalibrated.failures)


def test_a_fall_of_the_auroc_against_one_set_of_unknown_images_fails_by_name() -> None:
    found = evaluation()
    drawings = found.measured.unknown["drawings"]
    nearer = VariantOutputs(drawings.class_score, drawings.log_density + 1)
    result = gate(changed(found, unknown={"drawings": nearer}), GateLimits(verdict_agreement=0.0))
    assert result.auroc_drop["drawings"] > 0.005
    assert [failure.split(" falls")[0] for failure in result.failures] == ["AUROC against drawings"]


def test_a_fall_of_the_macro_auc_fails() -> None:
    result = gate(evaluation(noise=3.0), GateLimits(generator_agreement=0.0, verdict_agreement=0.0))
    assert result.macro_auc_drop is not None
    assert result.macro_auc_drop > 0.005
    assert any("macro AUC" in failure for failure in result.failures)


def test_a_better_auc_is_no_failure() -> None:
    worse = evaluation(noise=3.0)
    result = compare_variants(worse, evaluation(), GENERATORS, None, 0.05, GateLimits(0.0, 0.0))
    assert result.macro_auc_drop is not None
    assert result.macro_auc_drop < -0.005
    assert result.passes


def test_limits_can_be_set() -> None:
    assert not gate(evaluation(noise=3.0)).passes
    accused = gate(evaluation(noise=3.0), GateLimits(0.0, 0.0, 1.0)).failures
    assert [failure.split(" ", 1)[1] for failure in accused] == ["real faces are accused, and 100 by fp32"]  # no limit
    assert not gate(with_scores(evaluation(), 1), GateLimits(generator_agreement=1.0)).passes


def test_without_a_test_image_nothing_passes() -> None:
    empty = VariantOutputs(np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
    found = changed(evaluation(), test=empty, labels=np.zeros(0, np.int64))
    with pytest.raises(DatasetError, match="no test images"):
        compare_variants(found, found, GENERATORS, None, 0.05, GateLimits())


def test_without_an_image_of_one_generator_there_is_no_auc_and_the_rest_is_compared() -> None:
    found = evaluation()
    test, labels = found.measured.test, found.measured.labels
    kept = labels != 1
    part = VariantOutputs(test.class_score[kept], test.log_density[kept])
    one = changed(found, test=part, labels=labels[kept])
    result = compare_variants(one, one, GENERATORS, None, 0.05, GateLimits())
    assert (result.macro_auc_drop, result.macro_auc_softmax_drop) == (None, None)
    assert result.passes


@pytest.mark.parametrize("alpha", [0.02, 0.05, 0.29])
def test_an_image_is_unknown_exactly_below_the_threshold_of_its_generator(alpha: float) -> None:
    calibration = evaluation().calibration
    for index, threshold in enumerate(thresholds(calibration, GENERATORS, alpha).values()):
        densities, _ = conformal.group(calibration, index, alpha)
        assert conformal.p_value(densities, threshold) > alpha
        assert conformal.p_value(densities, float(np.nextafter(threshold, -np.inf))) <= alpha
