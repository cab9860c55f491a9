"""What a variant predicted for some images, beside what is known of them, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array, softmax
from protoleak.metrics.classes import Classes
from protoleak.metrics.ranking import BoolArray

# Of a class of the bundle (that of camera originals among them), of a generator that the bundle doesn't know, or a
# photograph from a source that training never saw.
Kind: TypeAlias = Literal["known", "unknown", "real"]
TextArray: TypeAlias = npt.NDArray[np.str_]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The verdicts on n images, and the numbers that they were made from.

    Attributes:
        classes: of the bundle, K of them.
        kinds: [n], each a Kind.
        folders: [n], the class or the unknown generator that made the image; empty for photographs.
        labels: int64 [n], index of the image's class, -1 for an image of no class of the bundle.
        sources: [n], what the image was made from: images of one source are resampled together.
        class_score: float64 [n, K].
        probability: float64 [n, K], calibrated; None where the bundle has no temperature.
        log_density: float64 [n].
        rejected: bool [n], whether the density is unusual among what the bundle knows: p-value ≤ α.
        verdicts: [n], "known", "real" or "unknown".
    """

    classes: Classes
    kinds: TextArray
    folders: TextArray
    labels: npt.NDArray[np.int64]
    sources: tuple[str, ...]
    class_score: Float64Array
    probability: Float64Array | None
    log_density: Float64Array
    rejected: BoolArray
    verdicts: TextArray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def attributed(self) -> npt.NDArray[np.int64]:
        """int64 [n], the class of the greatest score."""
        return np.asarray(self.class_score.argmax(axis=1), dtype=np.int64) if len(self) else np.zeros(0, np.int64)

    @property
    def softmax(self) -> Float64Array:
        """float64 [n, K], of the scores over classes: comparable between images."""
        return softmax(self.class_score) if len(self) else self.class_score

    @property
    def right(self) -> BoolArray:
        """bool [n], whether the verdict is right: the image's own class; for an image of a generator that the bundle
        doesn't know, unknown; for a photograph, real, or unknown where the bundle has no class of camera originals."""
        unknown = self.verdicts == "unknown"
        own = (self.kinds == "known") & ~unknown & (self.attributed == self.labels)
        photograph = (self.kinds == "real") & (unknown if self.classes.real is None else self.verdicts == "real")
        return np.asarray(own | photograph | ((self.kinds == "unknown") & unknown))

    def where(self, which: BoolArray) -> Predictions:
        """The images of which it holds."""
        return Predictions(
            classes=self.classes,
            kinds=self.kinds[which],
            folders=self.folders[which],
            labels=self.labels[which],
            sources=tuple(source for source, kept in zip(self.sources, which, strict=True) if kept),
            class_score=self.class_score[which],
            probability=None if self.probability is None else self.probability[which],
            log_density=self.log_density[which],
            rejected=self.rejected[which],
            verdicts=self.verdicts[which],
        )

    def of_kind(self, kind: Kind, folder: str | None = None) -> Predictions:
        """Images of one kind, and of one folder where it is given."""
        which = self.kinds == kind
        return self.where(which if folder is None else which & (self.folders == folder))

    def of_class(self, label: int) -> Predictions:
        """Images of one class of the bundle."""
        return self.where(self.labels == label)
