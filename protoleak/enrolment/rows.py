"""Pictures with the class scores and log densities that a bundle gives them, its enrolled generators included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.enrolment import Additions, Record, ScoreConstants
from protoleak.runtime.additions import class_score, extended_log_density, prototype_distances


@dataclass(frozen=True)
class Rows:
    """n pictures.

    Attributes:
        embedding, gate: float16 [n, D].
        scores: float64 [n, K], of all classes that are named.
        log_density: float64 [n].
        labels: int64 [n], indices of classes.
    """

    embedding: npt.NDArray[np.float16]
    gate: npt.NDArray[np.float16]
    scores: Float64Array
    log_density: Float64Array
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def chosen(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Rows:
        """Some of the pictures."""
        embedding, gate, labels = self.embedding[rows], self.gate[rows], self.labels[rows]
        return Rows(embedding, gate, self.scores[rows], self.log_density[rows], labels)

    def own_scores(self, prototypes: Float64Array, constants: ScoreConstants) -> Float64Array:
        """The class score of a generator with prototypes [M, D], float64 [n], without an offset."""
        return class_score(prototype_distances(prototypes, self.embedding, self.gate), constants.temperature)

    def extended(self, score: Float64Array, constants: ScoreConstants) -> Rows:
        """The same pictures once a class with these scores [n] is named too."""
        density = extended_log_density(self.scores, self.log_density, score, constants)
        scores = np.column_stack([self.scores, score])
        return Rows(self.embedding, self.gate, scores, density, self.labels)

    def labelled(self, label: int) -> Rows:
        """The same pictures as those of one class."""
        labels = np.full(len(self), label, np.int64)
        return Rows(self.embedding, self.gate, self.scores, self.log_density, labels)


def together(parts: Sequence[Rows]) -> Rows:
    """Several sets of pictures as one."""
    names = ("embedding", "gate", "scores", "log_density", "labels")
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def rows_of(record: Record, additions: Additions | None, own: int | None = None) -> Rows:
    """A record with the scores of a bundle's enrolled generators.

    Args:
        own: which of them the pictures are of; its score is then that of prototypes that were fitted without them.
    """
    rows = Rows(
        record.embedding,
        record.gate,
        record.class_score.astype(np.float64),
        record.log_density.astype(np.float64),
        record.labels.astype(np.int64),
    )
    if additions is None:
        return rows
    for index, (prototypes, offset) in enumerate(zip(additions.prototypes, additions.offsets, strict=True)):
        if index == own and len(record.own_score):
            score = record.own_score.astype(np.float64)
        else:
            score = rows.own_scores(prototypes, additions.constants) + offset
        rows = rows.extended(score, additions.constants)
    return rows


def rows_together(record: Record, enrolled: Sequence[Record], additions: Additions | None) -> Rows:
    """The pictures of a bundle's conformal lists, with the scores of enrolled generators.

    Args:
        record: of all classes.
        enrolled: a record per enrolled generator, as `additions` has them.
    """
    parts = [rows_of(record, additions)]
    parts += [rows_of(one, additions, index) for index, one in enumerate(enrolled)]
    return together(parts)


def calibration_rows(bundle: Bundle, variant: str) -> Rows:
    """All pictures that a bundle's conformal lists hold, with its scores of them."""
    enrolled = [bundle.enrolled_record(variant, index) for index in range(len(bundle.manifest.enrolled))]
    return rows_together(bundle.record(variant), enrolled, bundle.additions)


def without_some(additions: Additions | None, kept: Sequence[int]) -> Additions | None:
    """Only some of the enrolled generators; None where none is left."""
    if additions is None or not kept:
        return None
    chosen = list(kept)
    return Additions(additions.prototypes[chosen], additions.offsets[chosen], additions.constants)
