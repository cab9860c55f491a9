"""What a variant answers, as arrays: through the runtime's own line, so that what is measured is what is deployed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array
from protoleak.errors import EngineError, MediaError
from protoleak.evaluation.images import Image
from protoleak.metrics.ranking import BoolArray
from protoleak.metrics.scores import softmax
from protoleak.runtime.pipeline import AnyImage
from protoleak.runtime.verdict import Verdict
from protoleak.screener import Screener


@dataclass(frozen=True)
class Outputs:
    """The verdicts on n images.

    Attributes:
        images: those that have a verdict.
        class_score: float64 [n, K].
        probability: float64 [n, K], calibrated; None where the bundle has no temperature.
        log_density: float64 [n].
        rejected: bool [n], whether the density is unusual among what the bundle knows: p-value ≤ α.
        verdict: [n], "known", "real" or "unknown".
    """

    images: tuple[Image, ...]
    class_score: Float64Array
    probability: Float64Array | None
    log_density: Float64Array
    rejected: BoolArray
    verdict: npt.NDArray[np.str_]

    @classmethod
    def of(cls, images: Sequence[Image], verdicts: Sequence[Verdict], generators: Sequence[str]) -> Outputs:
        """From one verdict per image."""
        shape = (len(verdicts), len(generators))
        scores = np.array([[verdict.scores[name] for name in generators] for verdict in verdicts], dtype=np.float64)
        probabilities = [verdict.probabilities for verdict in verdicts if verdict.probabilities is not None]
        probability = None
        if verdicts and len(probabilities) == len(verdicts):
            probability = np.array([[values[name] for name in generators] for values in probabilities])
        return cls(
            images=tuple(images),
            class_score=scores.reshape(shape),
            probability=probability,
            log_density=np.array([verdict.log_density for verdict in verdicts], dtype=np.float64),
            rejected=np.array([verdict.p_value <= verdict.alpha for verdict in verdicts], dtype=np.bool_),
            verdict=np.array([verdict.label for verdict in verdicts], dtype=np.str_),
        )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def attributed(self) -> npt.NDArray[np.int64]:
        """int64 [n], the class of the greatest score."""
        return np.asarray(self.class_score.argmax(axis=1), dtype=np.int64) if len(self) else np.zeros(0, np.int64)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """int64 [n], -1 for an image of no known class."""
        return np.array([image.label for image in self.images], dtype=np.int64)

    @property
    def sources(self) -> list[str]:
        return [image.source for image in self.images]

    @property
    def comparable(self) -> Float64Array:
        """float64 [n, K], the softmax over classes of the scores."""
        return softmax(self.class_score) if len(self) else self.class_score

    def where(self, which: BoolArray) -> Outputs:
        """Those images of which it holds."""
        return Outputs(
            tuple(image for image, kept in zip(self.images, which, strict=True) if kept),
            self.class_score[which],
            None if self.probability is None else self.probability[which],
            self.log_density[which],
            self.rejected[which],
            self.verdict[which],
        )

    def of_kind(self, kind: str, folder: str | None = None) -> Outputs:
        """Images of one kind, and of one folder where it is given."""
        return self.where(
            np.array([image.kind == kind and folder in (None, image.folder) for image in self.images], dtype=np.bool_)
        )


@dataclass(frozen=True)
class Answers:
    """One outcome per image: its verdict, or why there is none."""

    outcomes: tuple[Verdict | MediaError | EngineError, ...]

    def verdicts(self, positions: Iterable[int]) -> list[tuple[int, Verdict]]:
        """Of the images at these positions, those that have one."""
        return [(index, one) for index in positions for one in [self.outcomes[index]] if isinstance(one, Verdict)]

    def errors(self, positions: Iterable[int]) -> list[tuple[int, str]]:
        """Of the images at these positions, why the others have none."""
        return [
            (index, str(one)) for index in positions for one in [self.outcomes[index]] if not isinstance(one, Verdict)
        ]


def ask(
    screener: Screener,
    images: Iterable[AnyImage | MediaError],
    count: int,
    batch_size: int,
    progress: Callable[[int, int], None],
) -> Answers:
    """Screens `count` images, in order.

    Args:
        images: taken as needed; an error stands for an image that could not be made.
        progress: told how many are done, and of how many.
    """
    outcomes = []
    for done, outcome in enumerate(screener.each(images, batch_size=batch_size), start=1):
        outcomes.append(outcome)
        progress(done, count)
    return Answers(tuple(outcomes))
