"""Times screening, by itself or in turns with a baseline."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from protoleak.bench.results import ENGINE_STAGES, STAGES, Comparison, Percentiles, Timing
from protoleak.errors import ProtoleakError
from protoleak.runtime.pipeline import ImagePipeline

# The threads of one library spin for a moment after their work; they must not take the cores from the next one's.
SETTLE_SECONDS = 0.005
BASELINE_RUNS = 5  # it is slow, and it is only asked for its median


@dataclass(frozen=True)
class Sample:
    """One batch.

    Attributes:
        faces: in the batch.
        end_to_end: milliseconds of the whole.
        stages: stage → milliseconds of the whole batch; the engines' among them.
    """

    faces: int
    end_to_end: float
    stages: dict[str, float]

    @property
    def engines(self) -> float:
        return sum(self.stages.get(stage, 0.0) for stage in ENGINE_STAGES)


Workload = Callable[[Sequence[bytes]], Sample]  # encoded images in; what they took out
Baseline = Callable[[Sequence[bytes]], "Sample | None"]  # None where it failed


def screening(screener: ImagePipeline) -> Workload:
    """Encoded images to verdicts, as a user runs it. It raises what an image or an engine raises."""

    def run(images: Sequence[bytes]) -> Sample:
        started = time.perf_counter()
        outcomes = list(screener.each(images, batch_size=len(images)))
        elapsed = 1000 * (time.perf_counter() - started)
        stages: dict[str, float] = {}
        for outcome in outcomes:
            if isinstance(outcome, ProtoleakError):
                raise outcome
            for stage, spent in outcome.milliseconds.items():
                stages[stage] = stages.get(stage, 0.0) + spent
        return Sample(len(images), elapsed, stages)

    return run


def measure(
    workload: Workload, images: Sequence[bytes], batch: int, runs: int, warm_up: int, baseline: Baseline | None = None
) -> tuple[Timing, list[Sample]]:
    """Times batches of one size.

    Args:
        images: encoded; each batch takes the next ones, from the beginning again after the last.
        runs: timed batches.
        warm_up: batches before them that don't count.
        baseline: run in turns with the workload, so that both meet the machine in the same state; up to BASELINE_RUNS
            batches, evenly spread.

    Returns:
        The workload's timing and the baseline's samples.
    """
    turns = {int(turn) for turn in np.linspace(0, runs - 1, min(runs, BASELINE_RUNS))} if baseline else set()
    for index in range(warm_up):
        workload(_batch(images, batch, index))
    if baseline and warm_up:
        baseline(_batch(images, batch, 0))
    samples: list[Sample] = []
    theirs: list[Sample] = []
    for index in range(runs):
        chosen = _batch(images, batch, index)
        if baseline and index in turns:
            time.sleep(SETTLE_SECONDS)
            sample = baseline(chosen)
            theirs += [] if sample is None else [sample]
            time.sleep(SETTLE_SECONDS)
            if warm_up:
                workload(chosen[:1])  # the baseline has pushed weights out of the caches
        samples.append(workload(chosen))
    return summarise(samples), theirs


def summarise(samples: Sequence[Sample]) -> Timing:
    """The numbers of at least one batch; all have the same size."""
    whole = np.array([sample.end_to_end for sample in samples])
    engines = np.array([sample.engines for sample in samples])
    faces = samples[0].faces
    present = [stage for stage in STAGES if any(stage in sample.stages for sample in samples)]
    named = {stage: np.array([sample.stages.get(stage, 0.0) for sample in samples]) for stage in present}
    half = len(samples) // 2
    return Timing(
        runs=len(samples),
        end_to_end=Percentiles.of([float(value) for value in whole]),
        engines=Percentiles.of([float(value) for value in engines]),
        stages={stage: float(np.median(values)) / faces for stage, values in named.items()},
        per_face=float(np.median(whole)) / faces,
        outside_engines=float(np.median(whole - engines)) / faces,
        faces_per_second=1000 * faces * len(samples) / float(whole.sum()),
        drift=float(np.median(whole[half:]) / np.median(whole[:half])) if half else 1.0,
    )


def compare(timing: Timing, baseline: Sequence[Sample]) -> Comparison:
    """How many times faster than the baseline's samples a workload is, by medians."""
    theirs = summarise(baseline)
    return Comparison(
        theirs,
        end_to_end_ratio=theirs.end_to_end.p50 / timing.end_to_end.p50,
        engines_ratio=theirs.engines.p50 / timing.engines.p50,
    )


def _batch(images: Sequence[bytes], size: int, index: int) -> list[bytes]:
    return [images[(index * size + offset) % len(images)] for offset in range(size)]
