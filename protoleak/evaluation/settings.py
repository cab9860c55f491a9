"""What is to be evaluated, and on what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from protoleak.choices import COMPUTES, OPERATOR_NAMES, SPLITS, Compute, EngineName, Split, check_choice
from protoleak.errors import ProtoleakError


@dataclass(frozen=True)
class EvaluationSettings:
    """What to evaluate. At least one of `data`, `unknown` and `photographs` is given.

    Attributes:
        data: one folder of images per class of the bundle, or None.
        unknown: one folder of images per generator that the bundle doesn't know, or None.
        photographs: of people, from sources that training never saw, or None.
        split: of `data`: "test", "all", or "auto" for the test split where the data set has one (see `images`).
        variants: names; None for all of the bundle.
        engine: as everywhere.
        compute: as in screening: of "auto", each variant is measured in what is taken of it here.
        alpha: significance level of the verdicts; None for the bundle's.
        threads: of the processor; None for the engine's own choice.
        device: CUDA device ordinal.
        batch_size: images that go through the engines together.
        operators: out of OPERATOR_NAMES, those that robustness is measured for; none for no robustness.
        chains: whether chains of one to three operators are measured too; only with operators.
        images_per_class: at most so many of each class, unknown generator and of the photographs go through every
            operator.
        resamples: of the bootstrap.
        seed: of the bootstrap, of which images go through the operators, and of the operators.
    """

    data: Path | None = None
    unknown: Path | None = None
    photographs: Path | None = None
    split: Split = "auto"
    variants: tuple[str, ...] | None = None
    engine: EngineName = "auto"
    compute: Compute = "auto"
    alpha: float | None = None
    threads: int | None = None
    device: int = 0
    batch_size: int = 8
    operators: tuple[str, ...] = OPERATOR_NAMES
    chains: bool = True
    images_per_class: int = 20
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.data is None and self.unknown is None and self.photographs is None:
            raise ProtoleakError("there is nothing to evaluate on: give --data, --unknown or --photographs")
        check_choice("split", self.split, SPLITS)
        check_choice("compute", self.compute, COMPUTES)
        for name in self.operators:
            check_choice("operator", name, OPERATOR_NAMES)
        if self.images_per_class < 1:
            raise ProtoleakError(f"{self.images_per_class} images per class: give 1 or more, or no operators")
        if self.resamples < 0 or self.seed < 0:
            raise ProtoleakError(f"{self.resamples} resamples with seed {self.seed}: give 0 or more of both")
        if self.batch_size < 1:
            raise ProtoleakError(f"batch size {self.batch_size}: give 1 or more")
        if self.threads is not None and self.threads < 1:
            raise ProtoleakError(f"{self.threads} threads: give 1 or more, or leave it out for all cores")
