"""A made-up bundle without graphs: normal features, scores that follow from them, and what a generator is fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protoleak.bundle.enrolment import ScoreConstants
from protoleak.calibration.class_statistics import fit_class_statistics
from protoleak.calibration.conformal_fit import LeftOutMargins, calibrate
from protoleak.enrolment.fit import Setting
from protoleak.enrolment.rows import Rows
from protoleak.metrics.classes import Classes
from protoleak.runtime.conformal import real_margin

NAMES, REAL = ("camera", "dawn", "moss"), 0
FEATURES = 16
CONSTANTS = ScoreConstants(1.0, -40.0)


@dataclass(frozen=True)
class World:
    """Classes that lie so far apart, each a normal distribution of features.

    Attributes:
        means: float64 [4, FEATURES], of the camera class, two generators and a newcomer.
    """

    means: np.ndarray
    random: np.random.Generator

    @classmethod
    def of(cls, seed: int, apart: float = 1.5) -> World:
        random = np.random.default_rng(seed)
        return cls(random.normal(0, apart, (len(NAMES) + 1, FEATURES)), random)

    def drawn(self, counts: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Features [n, FEATURES] and labels [n] of so many images of each class."""
        labels = np.repeat(np.arange(len(counts)), counts)
        return self.means[labels] + self.random.normal(size=(len(labels), FEATURES)), labels


def setting_of(world: World, calibration: tuple[np.ndarray, np.ndarray], alpha: float = 0.05) -> Setting:
    """A bundle that was trained in this world, with these images in its record.

    Its list of camera margins is of other images than those, as in a bundle with margins of left-out sources.
    """
    training, labels = world.drawn((60, 60, 60, 0))
    nothing = np.zeros((len(training), 0), np.float32)
    statistics = fit_class_statistics(training.astype(np.float32), nothing, labels, len(NAMES))
    rough = rows_in(world, *calibration)
    features = statistics.features(calibration[0].astype(np.float32), np.zeros((len(calibration[0]), 0), np.float32))
    rows = Rows(rough.embedding, rough.gate, features, rough.scores, rough.log_density, rough.labels)
    others = real_margin(rows_in(world, *world.drawn((199, 0, 0, 0))).scores, REAL)
    generated = real_margin(rows_in(world, *world.drawn((0, 50, 50, 0))).scores, REAL)
    lists = LeftOutMargins(others, generated)
    parts = (rows.log_density, rows.scores, NAMES, None, rows.labels, NAMES[REAL], lists, 0.2)
    return Setting(
        rows=rows,
        photographs=rows.chosen(np.zeros(0, np.int64)),
        classes=Classes(NAMES, REAL),
        constants=CONSTANTS,
        statistics=statistics,
        enrolled=(),
        calibration=calibrate(*parts),
        own_margins=False,
        accusation_bound=0.01,
        alpha=alpha,
        slots=2,
        harm=0.05,
    )


def rows_in(world: World, points: np.ndarray, labels: np.ndarray, setting: Setting | None = None) -> Rows:
    """The images with their scores, and with the features of that bundle."""
    distance = np.square(points[:, None] - world.means[: len(NAMES)]).sum(axis=2)
    scores = -0.1 * distance  # a network that is far from sure
    best = scores.max(axis=1)
    log_density = best + np.minimum(best - CONSTANTS.floor, 0) - np.logaddexp.reduce(scores, axis=1)
    nothing = np.zeros((len(points), 0), np.float32)
    features = np.zeros((len(points), FEATURES), np.int8)
    if setting is not None:
        features = setting.statistics.features(points.astype(np.float32), nothing)
    embedding = points.astype(np.float16)
    return Rows(embedding, np.ones_like(embedding), features, scores, log_density, labels.astype(np.int64))
