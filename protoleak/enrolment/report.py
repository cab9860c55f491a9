"""What an enrolment does, measured before anything is written, and the limits that it must keep."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from protoleak.enrolment.fit import Fitted, Setting, fit, fold_of
from protoleak.enrolment.judging import UNKNOWN, accused, judged
from protoleak.enrolment.rows import Rows
from protoleak.metrics.classes import Classes
from protoleak.runtime import conformal


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Beyond which an enrolment is refused.

    Attributes:
        recall: least share of the newcomer's held-out images that must be named.
        harm: largest share of the other generators' images in the calibration record that may lose their name.
        accused: how many more of the photographs may be accused than before.
    """

    recall: float = 0.3
    harm: float = 0.02
    accused: int = 0


class Newcomer(msgspec.Struct, frozen=True):
    """Held-out images of the new generator, each judged by an enrolment from the others.

    Attributes:
        images: how many.
        named, real, unknown: how many were called by the new name, real, and unknown.
        confused: other generator → how many were called by its name.
    """

    images: int
    named: int
    real: int
    unknown: int
    confused: dict[str, int]


class Changed(msgspec.Struct, frozen=True):
    """How many images of a class are called by their name, before and after.

    Attributes:
        newcomer: how many are called by the new name.
    """

    images: int
    before: int
    after: int
    newcomer: int


class Accused(msgspec.Struct, frozen=True):
    """Of how many camera originals a generator is named, before and after."""

    images: int
    before: int
    after: int


class EnrolmentReport(msgspec.Struct, frozen=True):
    """What an enrolment does in one variant.

    Attributes:
        newcomer: on held-out images of the new generator.
        record: class → on the images of the calibration record.
        cameras: on the camera originals of the record; None without any.
        photographs: on those that were given to measure on; None without any.
        calibration_list: images that the new generator's are compared with.
        compared_with: "its own images" or "all images".
        accused_of_newcomer: share of camera originals like those of the record that may be accused of the new class
            alone; see `accusation`.
        accusation_bound: share that may be accused of any generator; None without a promise.
    """

    newcomer: Newcomer
    record: dict[str, Changed]
    cameras: Accused | None
    photographs: Accused | None
    calibration_list: int
    compared_with: str
    accused_of_newcomer: float
    accusation_bound: float | None

    def refusals(self, limits: Limits, within_limits: bool) -> list[str]:
        """One phrase per limit that is broken, each naming the images that forbid it."""
        found = []
        new = self.newcomer
        if not within_limits:
            found.append(
                "the bundle's calibration record: at no offset of the new class do its images keep their names and "
                "its camera originals stay unaccused (--harm)"
            )
        if new.named < limits.recall * new.images:
            found.append(
                f"the held-out images of the new generator: {new.named} of {new.images} are named, "
                f"less than {limits.recall:.0%} (--recall)"
            )
        changed = list(self.record.values())
        lost = sum(one.before - one.after for one in changed)
        total = sum(one.images for one in changed)
        if within_limits and total and lost > limits.harm * total:
            found.append(
                f"the bundle's calibration record: {lost} of {total} images of the other generators lose their "
                f"name, more than {limits.harm:.0%} (--harm)"
            )
        if self.photographs is not None and self.photographs.after > self.photographs.before + limits.accused:
            faces = self.photographs
            found.append(
                f"the photographs: {faces.after} of {faces.images} are accused, {faces.before} before, and "
                f"{limits.accused} more may be (--accused)"
            )
        return found


@dataclass(frozen=True)
class Measured:
    """What is written, and what it does."""

    fitted: Fitted
    report: EnrolmentReport


def fit_and_measure(
    images: Rows, photographs: Rows, setting: Setting, name: str, like: Fitted | None = None
) -> Measured:
    """Fits a generator to all of its images, and measures fits to four fifths of them on the last fifth.

    Args:
        images: of the new generator, with the scores of the bundle so far.
        photographs: to measure on; others than `setting.photographs`.
        like: see `fit`.

    Raises:
        CalibrationError: α is too small for the calibration.
    """
    fitted = fit(images, setting, name, like)
    classes, new = setting.classes.with_one_more(name), len(setting.classes.names)
    folds = fold_of(len(images), seed=1)
    said = np.zeros(len(images), np.int64)
    for fold in np.unique(folds):
        partial = fit(images.chosen(folds != fold), setting, name)
        held_out = partial.extended(images.chosen(folds == fold), setting.constants)
        said[folds == fold] = judged(held_out, classes, partial.calibration, setting.alpha)
    alpha = setting.alpha
    before = judged(setting.rows, setting.classes, setting.calibration, alpha)
    after = judged(fitted.extended(setting.rows, setting.constants), classes, fitted.calibration, alpha)
    group, kind = conformal.group(fitted.calibration, new, alpha)
    cameras = setting.classes.are_cameras(setting.rows.labels)
    added = 0.0 if setting.own_margins else 1 / (int(cameras.sum()) + 1)
    report = EnrolmentReport(
        newcomer=_newcomer(said, new, classes),
        record=_changes(setting.rows.labels, before, after, setting.classes),
        cameras=_accused(before[cameras], after[cameras], setting.classes) if cameras.any() else None,
        photographs=_photographs(photographs, fitted, setting, classes) if len(photographs) else None,
        calibration_list=len(group),
        compared_with="its own images" if kind == "generator" else "all images",
        accused_of_newcomer=added,
        accusation_bound=None if setting.accusation_bound is None else setting.accusation_bound + added,
    )
    return Measured(fitted, report)


def _newcomer(said: npt.NDArray[np.int64], new: int, classes: Classes) -> Newcomer:
    others = [index for index in range(new) if index != classes.real]
    return Newcomer(
        images=len(said),
        named=int((said == new).sum()),
        real=0 if classes.real is None else int((said == classes.real).sum()),
        unknown=int((said == UNKNOWN).sum()),
        confused={classes.names[index]: int((said == index).sum()) for index in others if (said == index).any()},
    )


def _changes(
    labels: npt.NDArray[np.int64], before: npt.NDArray[np.int64], after: npt.NDArray[np.int64], classes: Classes
) -> dict[str, Changed]:
    found = {}
    for index, name in enumerate(classes.names):
        own = labels == index
        if index != classes.real and own.any():
            found[name] = Changed(
                images=int(own.sum()),
                before=int((before[own] == index).sum()),
                after=int((after[own] == index).sum()),
                newcomer=int((after[own] == len(classes.names)).sum()),
            )
    return found


def _photographs(photographs: Rows, fitted: Fitted, setting: Setting, classes: Classes) -> Accused:
    before = judged(photographs, setting.classes, setting.calibration, setting.alpha)
    after = judged(fitted.extended(photographs, setting.constants), classes, fitted.calibration, setting.alpha)
    return _accused(before, after, setting.classes)


def _accused(before: npt.NDArray[np.int64], after: npt.NDArray[np.int64], classes: Classes) -> Accused:
    return Accused(len(before), int(accused(before, classes).sum()), int(accused(after, classes).sum()))
