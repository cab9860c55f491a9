"""A new generator's discriminant and offset, from its images and from what the bundle recorded of the others.

The offset is chosen so that many of the new generator's images are named, each by a discriminant that was fitted
without it, and within limits for the others: no camera original of the record more is accused than before, and of the
other generators' images hardly fewer are named. Photographs of other cameras than the record's lie further out, and
to accuse one is the worse error. So even odds shall lie at seven tenths of the way from the nearest camera original to
the newcomer's images, as far as that leaves no more than three tenths of those unnamed that could be named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array
from protoleak.bundle.calibration import Calibration
from protoleak.bundle.class_statistics import ClassStatistics, Discriminant
from protoleak.bundle.enrolment import ScoreConstants
from protoleak.enrolment.discriminant import class_means, fit_discriminant, scale_and_offset
from protoleak.enrolment.judging import accused, judged, recalibrated
from protoleak.enrolment.prototypes import cluster_means, prototype_count, repeated
from protoleak.enrolment.rows import Rows, together
from protoleak.metrics.classes import Classes
from protoleak.runtime import conformal

FOLDS = 5
# How many times the log odds of two normal distributions are taken. The score of the camera class, which they are
# compared with, falls for photographs of cameras that the network never saw: the steeper, the less that matters.
STEEPNESS = 3.0
SHIFTS = np.linspace(0.3, -0.7, 41)  # of even odds, in log odds between the newcomer's images and the nearest class
BETWEEN = 0.7  # where even odds shall lie, from the nearest camera original to the mean of the newcomer's images
SPARED = 0.3  # of the newcomer's images that could be named: so many may stay unnamed for that


@dataclass(frozen=True)
class Setting:
    """What a generator is added to.

    Attributes:
        rows: of the bundle's conformal lists, with its scores.
        photographs: further camera originals that the offset is chosen with; may be empty.
        classes: that the bundle names so far.
        constants: of its scores.
        statistics: of the classes in the graph.
        enrolled: discriminants of the classes behind those.
        calibration: of the bundle so far.
        own_margins: whether the camera margins are those of the rows; see `judging.recalibrated`.
        accusation_bound: of the bundle so far, see `accusation`; None without a promise.
        alpha: significance level.
        slots: prototypes of a class.
        harm: largest share of the other generators' images that may lose their name.
    """

    rows: Rows
    photographs: Rows
    classes: Classes
    constants: ScoreConstants
    statistics: ClassStatistics
    enrolled: tuple[Discriminant, ...]
    calibration: Calibration
    own_margins: bool
    accusation_bound: float | None
    alpha: float
    slots: int
    harm: float


@dataclass(frozen=True)
class Fitted:
    """An added generator.

    Attributes:
        prototypes: float64 [M, D].
        discriminant: with its scale.
        offset: of its log odds.
        own_log_odds: float64 [n], of its images, by discriminants that were fitted without them.
        calibration: with the new class.
        within_limits: False where no offset keeps them; the one of least harm is then given.
    """

    prototypes: Float64Array
    discriminant: Discriminant
    offset: float
    own_log_odds: Float64Array
    calibration: Calibration
    within_limits: bool

    def extended(self, rows: Rows, constants: ScoreConstants) -> Rows:
        """Images with the new class's score."""
        return rows.extended(self.discriminant.log_odds(rows.features) + self.offset, constants)


@dataclass(frozen=True)
class Candidate:
    """One offset.

    Attributes:
        recall: share of the newcomer's images that are named, each by a discriminant that was fitted without it.
        harm: 0 within the limits, else how many images lie beyond them.
        between: where even odds lie: 0 at the nearest camera original, 1 at the mean of the newcomer's images.
    """

    fitted: Fitted
    recall: float
    harm: float
    between: float


def fold_of(count: int, folds: int = FOLDS, seed: int = 0) -> npt.NDArray[np.int64]:
    """The fold of each of so many images, int64 [n]: as equal as can be, in random order."""
    return np.random.default_rng(seed).permutation(np.arange(count) % folds)


def fit(images: Rows, setting: Setting, name: str, like: Fitted | None = None) -> Fitted:
    """Fits a generator.

    Args:
        images: of the generator, with the scores of the bundle so far.
        like: from another variant, whose discriminant and offset are taken: a bundle has one of each for all variants.

    Raises:
        CalibrationError: α is too small for the calibration.
    """
    classes, new = setting.classes.with_one_more(name), len(setting.classes.names)
    images = images.labelled(new)
    means = class_means(setting.statistics, setting.enrolled)
    own = _without_themselves(images, setting, means)
    if like is None:
        discriminant = fit_discriminant(images.features, setting.statistics, means)
        scale, even = (STEEPNESS * one for one in scale_and_offset(discriminant, means, own))
        discriminant = replace(discriminant, scale=scale)
        offsets = even + SHIFTS * 2 * (scale * own.mean() + even)
        prototypes = _prototypes(images, setting.slots)
    else:
        discriminant, scale, prototypes = like.discriminant, like.discriminant.scale, like.prototypes
        offsets = np.array([like.offset])
    own, guard = scale * own, _Guard.of(setting, classes)
    of_rows, of_photographs = (discriminant.log_odds(some.features) for some in (setting.rows, setting.photographs))
    nearest = _nearest_camera(setting, of_rows, of_photographs)
    candidates: list[Candidate] = []
    for offset in offsets:
        rows = setting.rows.extended(of_rows + offset, setting.constants)
        newcomers = images.extended(own + offset, setting.constants)
        calibration = recalibrated(together([rows, newcomers]), classes, setting.calibration, setting.own_margins)
        photographs = setting.photographs.extended(of_photographs + offset, setting.constants)
        harm = guard.harm(rows, photographs, calibration)
        recall = float((judged(newcomers, classes, calibration, setting.alpha) == new).mean())
        fitted = Fitted(prototypes, discriminant, float(offset), own + offset, calibration, harm == 0)
        between = -(nearest + offset) / max(float(own.mean()) - nearest, 1e-9)
        candidates.append(Candidate(fitted, recall, harm, between))
    return _chosen(candidates)


def _chosen(candidates: Sequence[Candidate]) -> Fitted:
    """The loosest offset within the limits that is strict enough towards cameras, or as strict as recall allows; else
    the one of least harm.

    Args:
        candidates: by falling offset.
    """
    within = [one for one in candidates if not one.harm]
    if not within:
        least = min(one.harm for one in candidates)
        return [one.fitted for one in candidates if one.harm == least][-1]
    enough = (1 - SPARED) * max(one.recall for one in within)
    affordable = [one for one in within if one.recall >= enough]
    return next((one.fitted for one in affordable if one.between >= BETWEEN), affordable[-1].fitted)


def _nearest_camera(setting: Setting, of_rows: Float64Array, of_photographs: Float64Array) -> float:
    """The greatest log odds of a camera original; of a bundle without them, of any recorded image.

    Args:
        of_rows, of_photographs: log odds of the setting's rows and photographs.
    """
    cameras = of_rows if setting.classes.real is None else of_rows[setting.rows.labels == setting.classes.real]
    known = np.concatenate([cameras, of_photographs])
    return float((known if len(known) else of_rows).max())


def _prototypes(images: Rows, slots: int) -> Float64Array:
    """As many prototypes as a class of the graph has, where the images' embeddings lie."""
    return repeated(cluster_means(images.embedding, prototype_count(len(images), slots)), slots)


def _without_themselves(images: Rows, setting: Setting, means: Float64Array) -> Float64Array:
    """The log odds, with the scale 1, of each image by a discriminant of the images in other folds, float64 [n]."""
    folds = fold_of(len(images), min(FOLDS, len(images)))
    own = np.zeros(len(images))
    for fold in np.unique(folds):
        discriminant = fit_discriminant(images.features[folds != fold], setting.statistics, means)
        own[folds == fold] = discriminant.log_odds(images.features[folds == fold])
    return own


@dataclass(frozen=True)
class _Guard:
    """The limits: what is said of the others' images before, and what may be said of them after.

    Attributes:
        classes: with the new one.
        named_before: images of the other generators in the record that are called by their name.
        allowed_losses: how many of these may lose it.
        accused_before: camera originals of the record, and further photographs, for which a generator is named.
    """

    setting: Setting
    classes: Classes
    named_before: int
    allowed_losses: int
    accused_before: tuple[int, int]

    @classmethod
    def of(cls, setting: Setting, classes: Classes) -> _Guard:
        said = judged(setting.rows, setting.classes, setting.calibration, setting.alpha)
        cameras = setting.classes.are_cameras(setting.rows.labels)
        named = int((said == setting.rows.labels)[~cameras].sum())
        accused_cameras = int(accused(said, setting.classes)[cameras].sum())
        others = 0
        if len(setting.photographs):
            found = judged(setting.photographs, setting.classes, setting.calibration, setting.alpha)
            others = int(accused(found, setting.classes).sum())
        losses = int(setting.harm * int((~cameras).sum()))
        return cls(setting, classes, named, losses, (accused_cameras, others))

    def harm(self, rows: Rows, photographs: Rows, calibration: Calibration) -> float:
        """0 within the limits, else how many images lie beyond them."""
        setting, real = self.setting, self.classes.real
        said = judged(rows, self.classes, calibration, setting.alpha)
        cameras = self.classes.are_cameras(rows.labels)
        lost = self.named_before - int((said == rows.labels)[~cameras].sum())
        beyond = max(0, lost - self.allowed_losses)
        beyond += max(0, int(accused(said, self.classes)[cameras].sum()) - self.accused_before[0])
        if len(photographs):
            found = judged(photographs, self.classes, calibration, setting.alpha)
            beyond += max(0, int(accused(found, self.classes).sum()) - self.accused_before[1])
        if real is not None and calibration.real_margins is not None:
            beyond += self._too_near(rows.chosen(cameras), real, calibration)
        return float(beyond)

    def _too_near(self, cameras: Rows, real: int, calibration: Calibration) -> int:
        """Camera originals that would be accused of the new generator if no other were named."""
        assert calibration.real_margins is not None
        margins = calibration.real_margins
        level = conformal.accusation_level(len(margins), self.setting.alpha, calibration.accusation_share)
        ranks = conformal.rejecting_ranks(len(margins), level)
        if ranks == 0:
            return 0
        against_new = cameras.scores[:, real] - cameras.scores[:, -1]
        return int((against_new <= margins[ranks - 1]).sum())
