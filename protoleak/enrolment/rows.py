"""Images with the class scores and log densities that a bundle gives them, its enrolled generators included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.class_statistics import FeatureArray
from protoleak.bundle.enrolment import Additions, Record, ScoreConstants
from protoleak.runtime.additions import extended_log_density, sum_of_scores


@dataclass(frozen=True)
class Rows:
    """n images.

    Attributes:
        embedding, gate: float16 [n, D].
        scores: float64 [n, K], of all classes that are named.
        log_density: float64 [n].
        features: int8 [n, J], what newcomers are told by.
        labels: int64 [n], indices of classes.
    """

    embedding: npt.NDArray[np.float16]
    gate: npt.NDArray[np.float16]
    features: FeatureArray
    scores: Float64Array
    log_density: Float64Array
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def chosen(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Rows:
        """Some of the images."""
        return Rows(**{name: values[rows] for name, values in vars(self).items()})

    def extended(self, log_odds: Float64Array, constants: ScoreConstants) -> Rows:
        """The same images once a class with these log odds [n] against the others is named too."""
        score = sum_of_scores(self.scores, self.log_density, constants) + log_odds
        density = extended_log_density(self.scores, self.log_density, score, constants)
        return replace(self, scores=np.column_stack([self.scores, score]), log_density=density)

    def labelled(self, label: int) -> Rows:
        """The same images as those of one class."""
        return replace(self, labels=np.full(len(self), label, np.int64))


def together(parts: Sequence[Rows]) -> Rows:
    """Several sets of images as one."""
    return Rows(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])})


def rows_of(record: Record, additions: Additions | None, own: int | None = None) -> Rows:
    """A record with the scores of a bundle's enrolled generators.

    Args:
        own: which of them the images are of; its log odds are then by a discriminant that was fitted without them.
    """
    rows = Rows(
        record.embedding,
        record.gate,
        record.features,
        record.class_score.astype(np.float64),
        record.log_density.astype(np.float64),
        record.labels.astype(np.int64),
    )
    if additions is None:
        return rows
    for index, (discriminant, offset) in enumerate(zip(additions.discriminants, additions.offsets, strict=True)):
        if index == own and len(record.own_log_odds):
            log_odds = record.own_log_odds.astype(np.float64)
        else:
            log_odds = discriminant.log_odds(rows.features) + offset
        rows = rows.extended(log_odds, additions.constants)
    return rows


def rows_together(record: Record, enrolled: Sequence[Record], additions: Additions | None) -> Rows:
    """The images of a bundle's conformal lists, with the scores of enrolled generators.

    Args:
        record: of all classes.
        enrolled: a record per enrolled generator, as `additions` has them.
    """
    parts = [rows_of(record, additions)]
    parts += [rows_of(one, additions, index) for index, one in enumerate(enrolled)]
    return together(parts)


def calibration_rows(bundle: Bundle, variant: str) -> Rows:
    """All images that a bundle's conformal lists hold, with its scores of them."""
    files = bundle.enrolment
    return rows_together(files.record(variant), files.enrolled_records(variant), files.additions)
