"""Does memory stay level over many runs?"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from benchmarks.gpu_checks.rows import Row, measured, not_measured
from benchmarks.gpu_checks.setup import Setup
from protoleak.errors import ProtoleakError
from protoleak.isolation.limits import resident_bytes
from protoleak.runtime.executors import ON_GPU, Executor, FrameToCrop

MEMORY = "memory over many runs"
SAMPLES = 20
# Over all runs: what a driver may take at any moment, and far below a leak of one buffer a run.
LARGEST_GROWTH_MIB = 4.0
FRAME = (360, 640, 3)


def memory(setup: Setup) -> Iterator[Row]:
    """A row for each kind of plan: images of several batch sizes in turns, and frames that are cropped on the GPU."""
    for engine in ON_GPU:
        if engine not in setup.settings.engines:
            continue
        what = f"{engine}, fp32, {setup.settings.memory_runs} runs"
        if (problem := setup.problem(engine, setup.settings.device)) is not None:
            yield not_measured(MEMORY, what, problem)
            continue
        try:
            executor = setup.open(engine, "fp32")
            try:
                yield _level(setup, executor, what)
            finally:
                executor.close()
        except ProtoleakError as error:
            yield not_measured(MEMORY, what, error, failed=True)


def _level(setup: Setup, executor: Executor, what: str) -> Row:
    runs = setup.settings.memory_runs
    warm_up = max(12, runs // 100)  # every batch size captured, every size of frame seen
    sizes = [size for size in (1, 2, 3) if size <= max(setup.settings.batch_sizes)]
    frame = np.zeros(FRAME, np.uint8)
    on_gpu, on_host = [], []
    every = max(1, runs // SAMPLES)
    for run in range(warm_up + runs + 1):
        if run >= warm_up and (run - warm_up) % every == 0:
            on_gpu.append(setup.free_memory() / 2**20)
            on_host.append(resident_bytes(os.getpid()))
        size = sizes[run % len(sizes)]
        executor.run(setup.faces(size, run))
        framed = executor.frame([FrameToCrop(frame, [(9, 9, 200, 200)] * (setup.looks * size))])
        assert framed is not None  # the engine is on a GPU
    grown = on_gpu[0] - on_gpu[-1]
    values = {
        "free MiB at first": on_gpu[0],
        "free MiB at last": on_gpu[-1],
        "least free MiB": min(on_gpu),
        "grown MiB": grown,
        "MiB per 1000 runs": 1000 * grown / runs,
    }
    if on_host[0] is not None and on_host[-1] is not None:
        values["resident MiB grown"] = (on_host[-1] - on_host[0]) / 2**20
    return measured(MEMORY, what, values, grown <= LARGEST_GROWTH_MIB)
