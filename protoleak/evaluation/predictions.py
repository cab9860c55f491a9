"""What a variant predicts for an evaluation's images: through the runtime, so that what is deployed is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from protoleak.errors import EngineError, MediaError
from protoleak.evaluation.images import Image
from protoleak.metrics.classes import Classes
from protoleak.metrics.predictions import Predictions
from protoleak.runtime.preparing import AnyImage
from protoleak.runtime.verdict import Verdict
from protoleak.screener import Screener


def predictions_of(images: Sequence[Image], verdicts: Sequence[Verdict], classes: Classes) -> Predictions:
    """From one verdict per image."""
    scores = np.array([[verdict.scores[name] for name in classes.names] for verdict in verdicts], dtype=np.float64)
    probabilities = [verdict.probabilities for verdict in verdicts if verdict.probabilities is not None]
    probability = None
    if verdicts and len(probabilities) == len(verdicts):
        probability = np.array([[values[name] for name in classes.names] for values in probabilities])
    return Predictions(
        classes=classes,
        kinds=np.array([image.kind for image in images], dtype=np.str_),
        folders=np.array([image.folder for image in images], dtype=np.str_),
        labels=np.array([image.label for image in images], dtype=np.int64),
        sources=tuple(image.source for image in images),
        class_score=scores.reshape(len(verdicts), len(classes.names)),
        probability=probability,
        log_density=np.array([verdict.log_density for verdict in verdicts], dtype=np.float64),
        rejected=np.array([verdict.p_value <= verdict.alpha for verdict in verdicts], dtype=np.bool_),
        verdicts=np.array([verdict.label for verdict in verdicts], dtype=np.str_),
    )


@dataclass(frozen=True)
class Outcomes:
    """One outcome per image: its verdict, or why there is none."""

    all: tuple[Verdict | MediaError | EngineError, ...]

    def verdicts(self, positions: Iterable[int]) -> list[tuple[int, Verdict]]:
        """Position and verdict of the images at these positions that have a verdict."""
        return [(index, one) for index in positions for one in [self.all[index]] if isinstance(one, Verdict)]

    def errors(self, positions: Iterable[int]) -> list[tuple[int, str]]:
        """Position and reason of the images at these positions that have no verdict."""
        return [(index, str(one)) for index in positions for one in [self.all[index]] if not isinstance(one, Verdict)]


def screen_images(
    screener: Screener,
    images: Iterable[AnyImage | MediaError],
    count: int,
    batch_size: int,
    progress: Callable[[int, int], None],
) -> Outcomes:
    """Screens `count` images, in order.

    Args:
        images: taken as needed; an error stands for an image that could not be made.
        progress: called with how many are done, and of how many.
    """
    outcomes = []
    for done, outcome in enumerate(screener.each(images, batch_size=batch_size), start=1):
        outcomes.append(outcome)
        progress(done, count)
    return Outcomes(tuple(outcomes))
