"""A new generator's prototypes and offset, from its pictures and from what the bundle recorded of the others.

The number of prototypes and the offset are chosen so that as many as possible of the new generator's pictures are
named, each by prototypes that were fitted without it, and within limits for the others: no camera original of the
record more is accused than before, and of the other generators' pictures hardly fewer are named. Where several offsets
do equally well, the middle one is taken: it leaves room on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array
from protoleak.bundle.bundle import Calibration
from protoleak.bundle.enrolment import ScoreConstants
from protoleak.enrolment.judging import Classes, accused, judged, recalibrated
from protoleak.enrolment.prototypes import cluster_means, divisors, repeated
from protoleak.enrolment.rows import Rows, together
from protoleak.runtime import conformal

FOLDS = 5
PICTURES_PER_PROTOTYPE = 4
OFFSETS = np.linspace(1.0, -3.0, 41)  # in median distances between the best and the second class score
LOW_QUANTILE = 0.05


@dataclass(frozen=True)
class Setting:
    """What a generator is added to.

    Attributes:
        rows: of the bundle's conformal lists, with its scores.
        photographs: further camera originals that the offset is chosen with; may be empty.
        classes: that the bundle names so far.
        constants: of its scores.
        calibration: of the bundle so far.
        own_margins: whether the camera margins are those of the rows; see `judging.recalibrated`.
        alpha: significance level.
        slots: prototypes of a class.
        harm: largest share of the other generators' pictures that may lose their name.
    """

    rows: Rows
    photographs: Rows
    classes: Classes
    constants: ScoreConstants
    calibration: Calibration
    own_margins: bool
    alpha: float
    slots: int
    harm: float


@dataclass(frozen=True)
class Fitted:
    """An added generator.

    Attributes:
        prototypes: float64 [M, D].
        offset: of its class score.
        own_score: float64 [n], the class score of its pictures by prototypes that were fitted without them.
        calibration: with the new class.
        within_limits: False where no offset keeps them; the one of least harm is then given.
    """

    prototypes: Float64Array
    offset: float
    own_score: Float64Array
    calibration: Calibration
    within_limits: bool

    def extended(self, rows: Rows, constants: ScoreConstants) -> Rows:
        """Pictures with the new class's score."""
        return rows.extended(rows.own_scores(self.prototypes, constants) + self.offset, constants)


def fold_of(count: int, folds: int = FOLDS, seed: int = 0) -> npt.NDArray[np.int64]:
    """The fold of each of so many pictures, int64 [n]: as equal as can be, in random order."""
    return np.random.default_rng(seed).permutation(np.arange(count) % folds)


def fit(pictures: Rows, setting: Setting, name: str, like: Fitted | None = None) -> Fitted:
    """Fits a generator.

    Args:
        pictures: of the generator, with the scores of the bundle so far.
        like: from another variant, whose prototypes and offset are taken: a bundle has one of each for all variants.

    Raises:
        CalibrationError: α is too small for the calibration.
    """
    classes, new = setting.classes.with_one_more(name), len(setting.classes.names)
    pictures = pictures.labelled(new)
    folds = fold_of(len(pictures), min(FOLDS, len(pictures)))
    guard = _Guard.of(setting, classes)
    candidates: list[tuple[tuple[bool, float, int], Fitted]] = []
    counts = divisors(setting.slots) if like is None else [len(np.unique(like.prototypes, axis=0))]
    offsets = OFFSETS * _unit(setting.rows) if like is None else np.array([like.offset])
    for count in counts:
        if like is None and count > 1 and count * PICTURES_PER_PROTOTYPE > len(pictures) * (FOLDS - 1) / FOLDS:
            break
        if like is None:
            prototypes = repeated(cluster_means(pictures.embedding, count), setting.slots)
        else:
            prototypes = like.prototypes
        own = _without_themselves(pictures, folds, count, setting)
        scores = setting.rows.own_scores(prototypes, setting.constants)
        of_photographs = setting.photographs.own_scores(prototypes, setting.constants)
        for offset in offsets:
            rows = setting.rows.extended(scores + offset, setting.constants)
            newcomers = pictures.extended(own + offset, setting.constants)
            calibration = recalibrated(together([rows, newcomers]), classes, setting.calibration, setting.own_margins)
            photographs = setting.photographs.extended(of_photographs + offset, setting.constants)
            harm = guard.harm(rows, photographs, calibration)
            recall = float((judged(newcomers, classes, calibration, setting.alpha) == new).mean())
            within = harm == 0
            key = (within, recall if within else -harm, -count)
            candidates.append((key, Fitted(prototypes, float(offset), own + offset, calibration, within)))
    best = max(key for key, _ in candidates)
    tied = [fitted for key, fitted in candidates if key == best]  # by falling offset
    return tied[len(tied) // 2] if tied[0].within_limits else tied[-1]


def _unit(rows: Rows) -> float:
    """Median distance between the best and the second class score."""
    ordered = np.sort(rows.scores, axis=1)
    return float(max(np.median(ordered[:, -1] - ordered[:, -2]), 1e-6))


def _without_themselves(pictures: Rows, folds: npt.NDArray[np.int64], count: int, setting: Setting) -> Float64Array:
    """The class score of each picture by prototypes of the pictures in other folds, float64 [n]."""
    own = np.zeros(len(pictures))
    for fold in np.unique(folds):
        means = cluster_means(pictures.embedding[folds != fold], count)
        held_out = pictures.chosen(folds == fold)
        own[folds == fold] = held_out.own_scores(repeated(means, setting.slots), setting.constants)
    return own


@dataclass(frozen=True)
class _Guard:
    """The limits: what is said of the others' pictures before, and what may be said of them after."""

    setting: Setting
    classes: Classes
    named_before: int
    allowed_losses: int
    accused_before: tuple[int, int]
    allowance: float

    @classmethod
    def of(cls, setting: Setting, classes: Classes) -> _Guard:
        said = judged(setting.rows, setting.classes, setting.calibration, setting.alpha)
        generated = setting.rows.labels != (-1 if setting.classes.real is None else setting.classes.real)
        named = int((said == setting.rows.labels)[generated].sum())
        cameras = int(accused(said, setting.classes)[~generated].sum())
        others = 0
        if len(setting.photographs):
            found = judged(setting.photographs, setting.classes, setting.calibration, setting.alpha)
            others = int(accused(found, setting.classes).sum())
        losses = int(setting.harm * int(generated.sum()))
        return cls(setting, classes, named, losses, (cameras, others), camera_allowance(setting))

    def harm(self, rows: Rows, photographs: Rows, calibration: Calibration) -> float:
        """0 within the limits, else how many pictures lie beyond them."""
        setting, real = self.setting, self.classes.real
        said = judged(rows, self.classes, calibration, setting.alpha)
        generated = rows.labels != (-1 if real is None else real)
        lost = self.named_before - int((said == rows.labels)[generated].sum())
        beyond = max(0, lost - self.allowed_losses)
        beyond += max(0, int(accused(said, self.classes)[~generated].sum()) - self.accused_before[0])
        if len(photographs):
            found = judged(photographs, self.classes, calibration, setting.alpha)
            beyond += max(0, int(accused(found, self.classes).sum()) - self.accused_before[1])
        if real is not None and calibration.real_margins is not None:
            beyond += self._too_near(rows.chosen(~generated), real, calibration)
        return float(beyond)

    def _too_near(self, cameras: Rows, real: int, calibration: Calibration) -> int:
        """Camera originals that would be accused of the new generator if their margin were lower by the allowance."""
        assert calibration.real_margins is not None
        margins = calibration.real_margins
        level = conformal.accusation_level(len(margins), self.setting.alpha, calibration.accusation_share)
        ranks = conformal.rejecting_ranks(len(margins), level)
        if ranks == 0:
            return 0
        against_new = cameras.scores[:, real] - cameras.scores[:, -1] - self.allowance
        return int((against_new <= margins[ranks - 1]).sum())


def camera_allowance(setting: Setting) -> float:
    """By how much the margins of camera originals in the record are more favourable than those of the shipped list, at
    a low quantile: that list is of sources which the network never saw, and so are the user's cameras."""
    real = setting.classes.real
    if real is None or setting.calibration.real_margins is None or setting.own_margins:
        return 0.0
    cameras = setting.rows.scores[setting.rows.labels == real]
    if not len(cameras):
        return 0.0
    own = np.quantile(conformal.real_margin(cameras, real), LOW_QUANTILE)
    return max(0.0, float(own - np.quantile(setting.calibration.real_margins, LOW_QUANTILE)))
