"""Measures of recorded predictions, against the numbers that export and evaluation gave for them before they shared one
implementation (scikit-learn's areas among them)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from protoleak.bundle.calibration import Calibration
from protoleak.calibration.conformal_fit import calibrate
from protoleak.export.report import Measured, VariantOutputs, measure_variant, predictions_of
from protoleak.metrics.classes import Classes
from protoleak.metrics.intervals import Resamples
from protoleak.metrics.measures import ALL_UNKNOWN, against_real, measure
from protoleak.metrics.predictions import Predictions
from protoleak.metrics.report import Measures
from protoleak.runtime.conformal import promise

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded_measures.json").read_text())
GENERATORS, REAL, ALPHA = RECORDED["generators"], RECORDED["real_class"], RECORDED["alpha"]


def outputs(name: str) -> VariantOutputs:
    part = RECORDED[name]
    return VariantOutputs(np.array(part["class_score"], np.float32), np.array(part["log_density"], np.float32))


def labels(name: str) -> np.ndarray:
    return np.array(RECORDED[name]["labels"], dtype=np.int64)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    held_out = outputs("calibration")
    return calibrate(
        held_out.log_density, held_out.class_score, GENERATORS, RECORDED["temperature"], labels("calibration"), REAL
    )


@pytest.fixture(scope="module")
def measured() -> Measured:
    unknown = {name: outputs(name) for name in ("drawings", "paintings")}
    return Measured(outputs("test"), labels("test"), unknown, outputs("real"))


@pytest.fixture(scope="module")
def predictions(measured: Measured, calibration: Calibration) -> Predictions:
    return predictions_of(measured, calibration, GENERATORS, REAL, ALPHA)


def nested(found: Any) -> Any:
    return msgspec.to_builtins(found)


def assert_close(found: Any, expected: Any) -> None:
    """Equal but for the rounding of float64 sums in another order; what is absent on one side is None on the other."""
    if isinstance(expected, dict):
        for key in found.keys() | expected.keys():
            assert_close(found.get(key), expected.get(key))
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=1e-12)
    else:
        assert found == expected


def test_a_report_has_the_numbers_that_exports_had(measured: Measured, calibration: Calibration) -> None:
    before = RECORDED["exported"]
    report = measure_variant("fp32", calibration, GENERATORS, REAL, ALPHA, measured)
    found = nested(report)
    assert_close(
        found["real_faces"]["accused"] | {key: found["real_faces"][key] for key in ("verdicts", "accused_of")},
        before["real_faces_accused"],
    )
    assert_close(found["real_class"], before["real_class_accused"])
    assert_close(found["false_rejection"]["withheld"], before["withheld"])
    rejection = found["false_rejection"]
    numbers = {key: rejection[key] for key in ("promised_on_average", "bound_95", "calibration_images")}
    assert_close(rejection["rejected"] | numbers, before["false_rejection"])
    closed, closed_before = found["closed_set"], before["closed_set"]
    assert closed["images"] == closed_before["images"]
    for now, then in (("macro_auc_raw", "macro_auc"), *((name, name) for name in ("macro_auc_softmax", "accuracy"))):
        assert closed[now]["value"] == pytest.approx(closed_before[then], abs=1e-12)
    assert closed["balanced_accuracy"]["value"] == pytest.approx(closed_before["balanced_accuracy"], abs=1e-12)
    for name in GENERATORS:
        result = closed["per_generator"][name]
        assert result["auc_raw"]["value"] == pytest.approx(closed_before["auc_per_generator"][name], abs=1e-12)
        then = closed_before["auc_softmax_per_generator"][name]
        assert result["auc_softmax"]["value"] == pytest.approx(then, abs=1e-12)
    for name in ("drawings", "paintings"):
        then = before["open_set"][name]
        assert_close(found["unknown"][name]["rejected"], then["rejected"])
        for metric in ("auroc", "fpr_at_95_tpr"):
            assert found["unknown"][name]["open_set"][metric]["value"] == pytest.approx(then[metric], abs=1e-12)
    assert_close(found["calibration"], before["calibration"])


def test_an_evaluation_has_the_numbers_and_intervals_that_it_had(
    predictions: Predictions, calibration: Calibration
) -> None:
    """Of the known images, one set of unknown ones and the photographs, with the sources that they had then."""
    chosen = predictions.where(predictions.folders != "paintings")
    numbers = [f"{index % 20:02d}" for index in range(50)], [f"{index % 20:02d}" for index in range(18)]
    sources = (*numbers[0], *numbers[1], *(f"real {index}" for index in range(15)))
    fields = {name: getattr(chosen, name) for name in chosen.__dataclass_fields__}
    chosen = Predictions(**{**fields, "sources": sources})
    found = measure("fp32", chosen, ["drawings"], promise(calibration, ALPHA), Resamples(sources, 200, 3))
    before = RECORDED["evaluated"]
    numbers_now = nested(found)
    for name in ("real_faces", "real_class", "closed_set", "false_rejection", "real_open_set", "probabilities"):
        assert_close(numbers_now[name], before[name])
    assert_close(numbers_now["unknown"]["drawings"], before["drawings"])


def test_photographs_are_told_by_the_plain_softmax_where_there_is_no_temperature(predictions: Predictions) -> None:
    fields = {name: getattr(predictions, name) for name in predictions.__dataclass_fields__}
    plain = Predictions(**{**fields, "probability": None})
    rows = [
        against_real(one.of_kind("known"), one.of_kind("real"), Resamples.none())[1] for one in (predictions, plain)
    ]
    assert [row.score for row in rows] == ["calibrated probability of all generators", "softmax of all generators"]
    assert rows[1].auroc.value == pytest.approx(0.892156862745098, abs=1e-12)
    assert rows[0].auroc.value != rows[1].auroc.value


def without(predictions: Predictions, kind: str, calibration: Calibration) -> Measures:
    chosen = predictions.where(predictions.kinds != kind)
    names = ["drawings", "paintings"] if kind != "unknown" else []
    return measure("fp32", chosen, names, promise(calibration, ALPHA), Resamples.none())


def test_what_has_no_images_is_left_out(predictions: Predictions, calibration: Calibration) -> None:
    assert without(predictions, "real", calibration).real_faces is None
    assert without(predictions, "unknown", calibration).unknown == {}
    unseen = without(predictions, "known", calibration)
    assert (unseen.closed_set, unseen.false_rejection, unseen.real_class) == (None, None, None)
    assert unseen.unknown["drawings"].open_set is None
    assert unseen.unknown["drawings"].rejected.of == 18


def test_all_unknown_generators_together_stand_last_where_there_are_several(
    predictions: Predictions, calibration: Calibration
) -> None:
    found = without(predictions, "real", calibration).unknown
    assert list(found) == ["drawings", "paintings", ALL_UNKNOWN]
    assert found[ALL_UNKNOWN].rejected.count == sum(found[name].rejected.count for name in ("drawings", "paintings"))


def test_without_resamples_no_interval_over_them_is_written(predictions: Predictions, calibration: Calibration) -> None:
    text = msgspec.json.encode(without(predictions, "real", calibration)).decode()
    assert "over_sources_95" not in text
    assert "missing" not in text


def test_a_verdict_is_right_by_what_made_the_image() -> None:
    def predicted(kind: str, label: int, scored: int, verdict: str, real: int | None) -> bool:
        one = Predictions(
            classes=Classes(("dawn", "camera"), real),
            kinds=np.array([kind]),
            folders=np.array([""]),
            labels=np.array([label]),
            sources=("a",),
            class_score=np.eye(2)[[scored]],
            probability=None,
            log_density=np.zeros(1),
            rejected=np.array([False]),
            verdicts=np.array([verdict]),
        )
        return bool(one.right[0])

    assert predicted("known", 0, 0, "known", 1)
    assert not predicted("known", 0, 0, "unknown", 1)
    assert not predicted("known", 0, 1, "real", 1)
    assert predicted("known", 1, 1, "real", 1)
    assert predicted("unknown", -1, 0, "unknown", 1)
    assert not predicted("unknown", -1, 0, "known", 1)
    assert predicted("real", -1, 1, "real", 1)
    assert not predicted("real", -1, 0, "unknown", 1)
    assert predicted("real", -1, 0, "unknown", None)
