"""What a benchmark is to measure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from protoleak.choices import COMPUTES, Compute, check_choice
from protoleak.errors import ProtoleakError


@dataclass(frozen=True)
class BenchmarkSettings:
    """What to measure.

    Attributes:
        engines: names; None for all that can run here.
        variants: names; None for all of the bundle.
        computes: "exact", "bf16" for OpenVINO in bfloat16, and "auto" for what is taken of each variant where nothing
            is asked for; each is measured once.
        batch_sizes: faces that go through the engines together.
        runs, warm_up: timed batches per row, and batches before them.
        data: a folder with one folder of images per generator, to judge the verdicts by.
        real_class: a folder in it that holds camera originals, besides the one named like the bundle's real class.
        baseline_model: a model directory, for eager PyTorch in the same run.
        alpha: significance level of the verdicts; None for the bundle's.
        threads: of the processor, for each engine; None for its own choice.
        device: CUDA device ordinal.
    """

    engines: tuple[str, ...] | None = None
    variants: tuple[str, ...] | None = None
    computes: tuple[Compute, ...] = ("exact", "auto")
    batch_sizes: tuple[int, ...] = (1, 4, 16)
    runs: int = 20
    warm_up: int = 3
    data: Path | None = None
    real_class: str | None = None
    baseline_model: Path | None = None
    alpha: float | None = None
    threads: int | None = None
    device: int = 0

    def __post_init__(self) -> None:
        for compute in self.computes:
            check_choice("compute", compute, COMPUTES)
        if self.runs < 1 or self.warm_up < 0:
            raise ProtoleakError(f"{self.runs} runs after {self.warm_up} to warm up: give at least 1 and 0")
        if not self.batch_sizes or min(self.batch_sizes) < 1:
            raise ProtoleakError(f"batch sizes {list(self.batch_sizes)}: give 1 or more")
        if self.threads is not None and self.threads < 1:
            raise ProtoleakError(f"{self.threads} threads: give 1 or more, or leave it out for all cores")
        if self.real_class is not None and self.data is None:
            raise ProtoleakError(f"--real-class {self.real_class} is a folder of --data: give that too")
