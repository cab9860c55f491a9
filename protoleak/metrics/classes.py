"""The classes that a bundle names, and which of them is that of camera originals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protoleak.metrics.ranking import BoolArray


@dataclass(frozen=True)
class Classes:
    """The classes of a bundle.

    Attributes:
        names: K generators; the class of camera originals is one of them.
        real: index of the class of camera originals, or None.
    """

    names: tuple[str, ...]
    real: int | None

    @classmethod
    def of(cls, generators: Sequence[str], real_class: str | None) -> Classes:
        """From what a manifest says. Raises ValueError where `real_class` is no generator."""
        return cls(tuple(generators), None if real_class is None else list(generators).index(real_class))

    def are_cameras(self, labels: npt.NDArray[np.int64]) -> BoolArray:
        """Whether labels [n] are that of camera originals; none is without such a class."""
        return np.zeros(len(labels), np.bool_) if self.real is None else np.asarray(labels == self.real)

    def with_one_more(self, name: str) -> Classes:
        """Another class behind the others."""
        return Classes((*self.names, name), self.real)
