"""What is to be evaluated, and on what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from protoleak.errors import ProtoleakError
from protoleak.images.perturbations import OPERATORS

SplitChoice: TypeAlias = Literal["auto", "test", "all"]
SPLIT_CHOICES: tuple[SplitChoice, ...] = get_args(SplitChoice)


@dataclass(frozen=True)
class EvaluationSettings:
    """What to evaluate.

    Attributes:
        data: one folder of images per class of the bundle.
        unknown: one folder of images per generator that the bundle doesn't know, or None.
        real: photographs of people from sources that training never saw, or None.
        split: of `data`: "test", "all", or "auto" for the test split where the data set has one (see `images`).
        variants: names; None for all of the bundle.
        engine: as everywhere.
        operators: names out of OPERATORS that robustness is measured for; none for no robustness.
        chains: whether chains of one to three operators are measured too; only with operators.
        images_per_class: at most so many of each class, unknown generator and of the real photographs go through
            every operator.
        resamples: of the bootstrap.
        seed: of the bootstrap, of which images go through the operators, and of the operators.
    """

    data: Path
    unknown: Path | None = None
    real: Path | None = None
    split: SplitChoice = "auto"
    variants: tuple[str, ...] | None = None
    engine: str = "auto"
    alpha: float = 0.05
    threads: int | None = None
    device: int = 0
    batch_size: int = 8
    operators: tuple[str, ...] = tuple(OPERATORS)
    chains: bool = True
    images_per_class: int = 20
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.split not in SPLIT_CHOICES:
            raise ProtoleakError(f"split {self.split!r}: choose {', '.join(SPLIT_CHOICES[:-1])} or {SPLIT_CHOICES[-1]}")
        for name in self.operators:
            if name not in OPERATORS:
                raise ProtoleakError(f"there is no operator {name!r}: choose from {', '.join(OPERATORS)}, or none")
        if self.images_per_class < 1:
            raise ProtoleakError(f"{self.images_per_class} images per class: give 1 or more, or no operators")
        if self.resamples < 0 or self.seed < 0:
            raise ProtoleakError(f"{self.resamples} resamples with seed {self.seed}: give 0 or more of both")
        if self.batch_size < 1:
            raise ProtoleakError(f"batch size {self.batch_size}: give 1 or more")
        if self.threads is not None and self.threads < 1:
            raise ProtoleakError(f"{self.threads} threads: give 1 or more, or leave it out for all cores")
