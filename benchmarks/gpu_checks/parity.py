"""Does a GPU give what the processor gives, and a CUDA graph what no graph gives?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from benchmarks.gpu_checks.rows import Number, Row, attempted, measured, not_measured
from benchmarks.gpu_checks.setup import GPU_ENGINES, Setup
from protoleak.arrays import Array
from protoleak.runtime.executors import TENSORRT
from protoleak.runtime.executors.base import AttributorOutputs

PARITY, GRAPH = "parity with the processor's fp32", "CUDA graph against no graph"
# fp32: float32 sums in another order, through 34 times the latent at timestep 0. Of the others the best class has to
# be the same as often as the gate of an export asks for; how far scores move is shown.
LARGEST_FP32_DEVIATION = 1e-3  # of the largest magnitude of an output
LEAST_AGREEMENT = 0.99
OUTPUTS = ("z0", "embedding", "class_score", "log_density")


def parity(setup: Setup) -> Iterator[Row]:
    """A row for each engine and precision."""
    for engine, precision, why in setup.combinations(GPU_ENGINES):
        what = f"{engine}, {precision}"
        if why is not None:
            yield not_measured(PARITY, engine if precision == setup.settings.precisions[0] else what, why)
            continue
        yield from attempted(PARITY, what, partial(_beside_reference, setup, engine, precision))


def _beside_reference(setup: Setup, engine: str, precision: str) -> Iterator[Row]:
    executor = setup.open(engine, precision)
    try:
        found = executor.run(setup.faces(len(setup.images)), stages=True)
        layers = executor.describe().settings.get("layers", "unreported")
    finally:
        executor.close()
    deviations = {name: deviation(found, setup.reference, name) for name in OUTPUTS}
    same = float(np.mean(best(found) == best(setup.reference)))
    holds = max(deviations.values()) <= LARGEST_FP32_DEVIATION if precision == "fp32" else same >= LEAST_AGREEMENT
    values: dict[str, Number] = {f"{name}: largest deviation": value for name, value in deviations.items()}
    yield measured(PARITY, f"{engine}, {precision}", {**values, "same best class": same, "layers": layers}, holds)


def graphs(setup: Setup) -> Iterator[Row]:
    """Whether a captured graph gives the same bits, for every precision in which plans are built."""
    for engine, precision, why in setup.combinations(TENSORRT):
        what = f"{engine}, {precision}"
        if why is not None:
            yield not_measured(GRAPH, what, why)
            continue
        yield from attempted(GRAPH, what, partial(_bits, setup, engine, precision))


def _bits(setup: Setup, engine: str, precision: str) -> Iterator[Row]:
    opened = setup.open(engine, precision), setup.open(engine, precision, cuda_graph=False)
    captured, plain = opened
    try:
        differing = 0
        sizes = [size for size in (1, 3) if size <= max(setup.settings.batch_sizes)]
        for run in range(4):  # plain, captured, replayed twice; sizes in turns: a graph must not rest on what ran last
            for size in sizes:
                faces = setup.faces(size, 5 * run)
                one, other = captured.run(faces).outputs, plain.run(faces).outputs
                differing += not _same_bits(one, other)
        state = captured.describe().settings.get("cuda_graph", "")
        values: dict[str, Number] = {"runs": 4 * len(sizes), "runs that differ": differing, "graph": state}
        yield measured(GRAPH, f"{engine}, {precision}", values, differing == 0 and not state.startswith("no"))
    finally:
        for executor in opened:
            executor.close()


def deviation(found: AttributorOutputs, expected: AttributorOutputs, name: str) -> float:
    """The largest absolute difference over the largest magnitude that was expected."""
    one, other = found.stages[name].astype(np.float64), expected.stages[name].astype(np.float64)
    return float(np.abs(one - other).max() / max(np.abs(other).max(), 1e-12))


def best(found: AttributorOutputs) -> Array:
    """The class of each face with the highest score."""
    classes: Array = found.outputs["class_score"].argmax(axis=1)
    return classes


def _same_bits(one: Mapping[str, Array], other: Mapping[str, Array]) -> bool:
    return all(one[name].tobytes() == other[name].tobytes() for name in other)
