"""How long does a batch take: with a CUDA graph, without, and stage by stage?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import numpy as np

from benchmarks.gpu_checks.rows import Number, Row, attempted, measured, not_measured
from benchmarks.gpu_checks.setup import GPU_ENGINES, Setup
from protoleak.runtime.executors import ON_GPU, TENSORRT, Executor

LATENCY, STAGES = "latency of a batch, images in and outputs out", "stages on the GPU, ms per batch"
WARM_UP = 5  # the first run of a size allocates, the second captures
STAGE_RUNS = 20
PERCENTILES = (50, 95, 99)


def latency(setup: Setup) -> Iterator[Row]:
    """A row for each engine, precision and batch size, with plans tuned for it, with and without a CUDA graph."""
    for engine, precision, why in setup.combinations(GPU_ENGINES):
        for graph in (True, False) if engine in TENSORRT else (False,):
            name = f"{engine}, {precision}" + (", CUDA graph" if graph else ", no graph" if engine in TENSORRT else "")
            if why is not None:
                yield not_measured(LATENCY, name, why)
                continue
            for batch in setup.settings.batch_sizes:
                what = f"{name}, batch {batch}"
                yield from attempted(LATENCY, what, partial(_timed, setup, engine, precision, batch, graph, what))


def _timed(setup: Setup, engine: str, precision: str, batch: int, graph: bool, what: str) -> Iterator[Row]:
    executor = setup.open(engine, precision, batch, cuda_graph=graph)
    try:
        yield measured(LATENCY, what, timed(setup, executor, batch))
    finally:
        executor.close()


def stages(setup: Setup) -> Iterator[Row]:
    """Where a batch's time goes, by the GPU's own clock."""
    for engine, precision, why in setup.combinations(ON_GPU):
        if why is not None:
            yield not_measured(STAGES, f"{engine}, {precision}", why)
            continue
        for batch in setup.settings.batch_sizes:
            what = f"{engine}, {precision}, batch {batch}"
            yield from attempted(STAGES, what, partial(_stages, setup, engine, precision, batch, what))


def _stages(setup: Setup, engine: str, precision: str, batch: int, what: str) -> Iterator[Row]:
    yield measured(STAGES, what, dict(stage_times(setup, engine, precision, batch)))


def timed(setup: Setup, executor: Executor, batch: int) -> dict[str, Number]:
    """Percentiles of runs with ever other faces, in milliseconds."""
    spent = []
    for run in range(WARM_UP + setup.settings.repeats):
        faces = setup.faces(batch, run * batch)
        started = time.perf_counter()
        executor.run(faces)
        if run >= WARM_UP:
            spent.append(1000 * (time.perf_counter() - started))
    found: dict[str, Number] = {f"p{each} ms": float(np.percentile(spent, each)) for each in PERCENTILES}
    found["ms per face"] = float(np.median(spent)) / batch
    found["faces per second"] = 1000 * batch * len(spent) / sum(spent)
    return found


def stage_times(setup: Setup, engine: str, precision: str, batch: int) -> dict[str, float]:
    """Stage → the median in milliseconds, with a GPU's events between the stages."""
    executor = setup.open(engine, precision, batch, stage_times=True)
    try:
        count = WARM_UP + min(STAGE_RUNS, setup.settings.repeats)
        runs = [executor.run(setup.faces(batch, run * batch)).milliseconds for run in range(count)][WARM_UP:]
    finally:
        executor.close()
    return {stage: float(np.median([run[stage] for run in runs])) for stage in runs[0]}
