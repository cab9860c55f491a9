from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from protoleak.arrays import softmax
from protoleak.bundle.calibration import Calibration
from protoleak.calibration.conformal_fit import LeftOutMargins, calibrate
from protoleak.calibration.temperature import fit_temperature
from protoleak.errors import CalibrationError
from protoleak.runtime.conformal import real_margin

GENERATORS = ("a", "b")


def _loss(score: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    return float(-np.log(softmax(score / temperature)[np.arange(len(labels)), labels]).mean())


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_temperature_minimises_the_negative_log_likelihood(scale: float) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    score = scale * (np.eye(3)[labels] + rng.normal(size=(200, 3)))
    temperature = fit_temperature(score, labels)
    assert temperature is not None
    losses = [_loss(score, labels, temperature * factor) for factor in (0.99, 1.0, 1.01)]
    assert losses[1] == min(losses)


def test_the_temperature_of_calibrated_scores_is_the_one_they_were_made_with() -> None:
    rng = np.random.default_rng(1)
    score = rng.normal(size=(20_000, 3)) * 4
    labels = np.array([rng.choice(3, p=row) for row in softmax(score / 2.0)])
    # The estimate's standard error with 20,000 images is about 1 %.
    assert fit_temperature(score, labels) == pytest.approx(2.0, rel=0.05)


def test_no_temperature_is_given_where_the_images_cannot_support_one() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    assert fit_temperature(rng.normal(size=(2, 2)), np.array([0, 1])) is None  # one image per generator
    assert fit_temperature(np.eye(2)[labels], labels) is None  # all right: T → 0
    assert fit_temperature(-np.eye(2)[labels], labels) is None  # all wrong: T → ∞
    assert fit_temperature(np.zeros((40, 2)), labels) is None  # the same score for all


def test_calibration_groups_by_predicted_generator_and_sorts() -> None:
    density = np.array([3.0, 1.0, 2.0, 0.0], dtype=np.float32)
    score = np.array([[1, 0], [0, 1], [0, 1], [1, 0]], dtype=np.float32)
    found = calibrate(density, score, GENERATORS, 1.5, np.zeros(4, np.int64), None)
    np.testing.assert_array_equal(found.overall, [0, 1, 2, 3])
    np.testing.assert_array_equal(found.per_generator[0], [0, 3])
    np.testing.assert_array_equal(found.per_generator[1], [1, 2])
    read = Calibration.from_bytes(found.to_bytes(), 2, "test")
    assert (read.temperature, read.real_margins) == (1.5, None)


def test_margins_of_what_was_left_out_take_the_place_of_the_images_own_and_survive_the_file() -> None:
    left_out = LeftOutMargins(np.array([0.5, -1.0, 2.0]), np.array([-3.0, 1.0]))
    score = np.array([[1, 4], [3, 1]], dtype=np.float32)
    found = calibrate(np.zeros(2), score, GENERATORS, None, np.array([1, 0]), GENERATORS[1], left_out)
    for each in (found, Calibration.from_bytes(found.to_bytes(), 2, "test")):
        assert each.real_margins is not None
        assert each.generated_margins is not None
        assert each.real_margins.tolist() == [-1, 0.5, 2]
        assert each.generated_margins.tolist() == [-3, 1]
    with pytest.raises(CalibrationError, match="no class of camera originals"):
        calibrate(np.zeros(2), score, GENERATORS, None, np.array([1, 0]), None, left_out)


def test_left_out_margins_are_read_as_they_were_written(tmp_path: Path) -> None:
    np.savez(tmp_path / "margins.npz", camera=np.float32([1, 2]), generated=np.arange(3))
    read = LeftOutMargins.read(tmp_path / "margins.npz")
    assert (read.camera.tolist(), read.generated.tolist()) == ([1, 2], [0, 1, 2])
    assert read.camera.dtype == read.generated.dtype == np.float64


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"camera": [1.0]}, "arrays camera and generated"),
        ({"camera": [1.0], "generated": []}, "'generated' is not a list of finite numbers"),
        ({"camera": [1.0, np.nan], "generated": [1.0]}, "'camera' is not a list of finite numbers"),
        ({"camera": [[1.0]], "generated": [1.0]}, "'camera' is not a list of finite numbers"),
        ({"camera": ["high"], "generated": [1.0]}, "arrays camera and generated"),
        ({"camera": np.array([None]), "generated": [1.0]}, "arrays camera and generated"),
    ],
)
def test_a_file_that_holds_no_margins_is_refused_by_name(
    arrays: dict[str, npt.ArrayLike], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "margins.npz"
    np.savez(file, **{name: np.asarray(values) for name, values in arrays.items()})
    with pytest.raises(CalibrationError, match=message) as refusal:
        LeftOutMargins.read(file)
    assert "margins.npz" in str(refusal.value)


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\x03\x04"])
def test_a_margins_file_that_is_none_or_missing_is_refused_by_name(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "margins.npz"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CalibrationError, match=r"margins\.npz"):
        LeftOutMargins.read(file)


def test_a_margins_file_that_is_a_single_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "margins.npy", np.arange(3.0))
    with pytest.raises(CalibrationError, match="holds no margins"):
        LeftOutMargins.read(tmp_path / "margins.npy")


def test_the_margins_kept_are_those_of_camera_originals_whatever_they_were_attributed_to() -> None:
    score = np.array([[1, 4], [3, 1], [0, 9], [2, 2.5]], dtype=np.float32)
    labels = np.array([1, 1, 0, 1])
    found = calibrate(np.zeros(4), score, GENERATORS, None, labels, GENERATORS[1])
    np.testing.assert_array_equal(found.real_margins, [-2, 0.5, 3])
    read = Calibration.from_bytes(found.to_bytes(), 2, "test")
    np.testing.assert_array_equal(read.real_margins, found.real_margins)


def test_a_margin_is_to_the_best_of_the_other_classes() -> None:
    np.testing.assert_array_equal(real_margin(np.array([[1.0, 5.0, 4.0], [7.0, 2.0, 9.0]]), 1), [1.0, -7.0])


def test_calibration_refuses_what_has_no_rank() -> None:
    score, labels = np.zeros((2, 2)), np.zeros(2, np.int64)
    with pytest.raises(CalibrationError, match=r"1 of 2 calibration images gave NaN or infinity .*number 1"):
        calibrate(np.array([0.0, np.nan]), score, GENERATORS, None, labels, None)
    with pytest.raises(CalibrationError, match="no calibration image"):
        calibrate(np.zeros(0), np.zeros((0, 2)), GENERATORS, None, labels[:0], None)
    with pytest.raises(CalibrationError, match="do not belong"):
        calibrate(np.zeros(3), score, GENERATORS, None, labels, None)
