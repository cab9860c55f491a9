"""Calibrations of a changed bundle, and the verdicts on many images at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array
from protoleak.bundle.calibration import Calibration
from protoleak.calibration.conformal_fit import LeftOutMargins, calibrate
from protoleak.enrolment.rows import Rows
from protoleak.metrics.classes import Classes
from protoleak.runtime import conformal

UNKNOWN = -1


def recalibrated(rows: Rows, classes: Classes, before: Calibration, own_margins: bool) -> Calibration:
    """The conformal lists of these images.

    Args:
        rows: with the scores of all classes.
        before: whose temperature and accusation share stay; and whose margins of generated images, since those are of
            generators that the network never saw.
        own_margins: whether the camera originals among the rows make the list of margins; else that of `before` stays.

    Raises:
        CalibrationError: there is no image, or a value is not finite.
    """
    left_out = None
    if before.generated_margins is not None and before.real_margins is not None:
        camera = before.real_margins
        if own_margins and classes.real is not None:
            camera = conformal.real_margin(rows.scores[rows.labels == classes.real], classes.real)
        left_out = LeftOutMargins(camera, before.generated_margins)
    real_class = None if classes.real is None or before.real_margins is None else classes.names[classes.real]
    return calibrate(
        rows.log_density,
        rows.scores,
        classes.names,
        before.temperature,
        rows.labels,
        real_class,
        left_out,
        before.accusation_share,
    )


def judged(rows: Rows, classes: Classes, calibration: Calibration, alpha: float) -> npt.NDArray[np.int64]:
    """What is said of each image, int64 [n]: the class that is named (that of camera originals for `real`), or
    UNKNOWN. The rule is that of `runtime.decision.DecisionRule`, over arrays.

    Raises:
        CalibrationError: α is too small for the calibration.
    """
    best = rows.scores.argmax(axis=1)
    rejected = np.zeros(len(rows), np.bool_)
    for index in np.unique(best):
        group, _ = conformal.group(calibration, int(index), alpha)
        chosen = best == index
        rejected[chosen] = p_values(group, rows.log_density[chosen]) <= alpha
    said = np.where(rejected, UNKNOWN, best)
    real = classes.real
    if real is None or calibration.real_margins is None:
        return said
    margin = conformal.real_margin(rows.scores, real)
    level = conformal.accusation_level(len(calibration.real_margins), alpha, calibration.accusation_share)
    too_like_cameras = p_values(calibration.real_margins, margin) > level
    said[(best != real) & too_like_cameras] = UNKNOWN
    if calibration.generated_margins is not None:
        acquittal = conformal.acquittal_level(len(calibration.generated_margins), alpha)
        doubtful = p_values(-calibration.generated_margins[::-1], -margin) > acquittal
        said[(best == real) & doubtful] = UNKNOWN
    return said


def accused(said: npt.NDArray[np.int64], classes: Classes) -> npt.NDArray[np.bool_]:
    """Whether a generator was named, bool [n]."""
    return np.asarray((said != UNKNOWN) & (said != (UNKNOWN if classes.real is None else classes.real)))


def p_values(calibrated: Float64Array, values: Float64Array) -> Float64Array:
    """`conformal.p_value` of each of the values [n] among sorted calibration values."""
    return (1 + np.searchsorted(calibrated, values, side="right")) / (len(calibrated) + 1)
