"""How much of what this GPU multiplies at all do the networks reach?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.gpu_checks.latency import stage_times
from benchmarks.gpu_checks.rows import Number, Row, attempted, measured, not_measured
from benchmarks.gpu_checks.setup import Setup, own_cache, tf32
from benchmarks.matrix_products import CHAIN, operations, products
from protoleak.errors import EngineUnavailable, ProtoleakError
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.engines import Graph
from protoleak.runtime.executors import ON_GPU, TENSORRT

LIMIT = "share of the matrix limit"
REPEATS, RUNS = 20, 5
TORCH_DTYPES = {"fp32": "float32", "tf32": "float32", "fp16": "float16"}


@dataclass(frozen=True)
class Peak:
    """What one product of two square matrices reached.

    Attributes:
        tflops: 2·n³ over the time of the best run, in 10¹² operations a second.
        by: what multiplied.
    """

    tflops: float
    by: str


def matrix_limit(setup: Setup) -> Iterator[Row]:
    """A row for each precision and network, at the largest batch."""
    batch = max(setup.settings.batch_sizes)
    for engine, precision, why in setup.combinations(ON_GPU):
        what = f"{engine}, {precision}, batch {batch}"
        if why is None and precision == "int8" and engine not in TENSORRT:
            why = "ONNX Runtime's CUDA provider multiplies int8 variants in float32"
        if why is not None:
            yield not_measured(LIMIT, what, why)
            continue
        yield from attempted(LIMIT, what, partial(_shares, setup, engine, precision, batch, what))


def _shares(setup: Setup, engine: str, precision: str, batch: int, what: str) -> Iterator[Row]:
    work = operations(setup.bundle)
    limit, reason = peak(setup, engine, precision)
    times = stage_times(setup, engine, precision, batch)
    for stage in ("latent_encoder", "attributor"):
        reached = work[stage] * batch / times[stage] / 1e9
        values: dict[str, Number] = {"GFLOP per face": work[stage] / 1e9, "TFLOP/s": reached}
        if limit is None:
            yield not_measured(LIMIT, f"{what}, {stage}: {reached:.3g} TFLOP/s, of which limit", reason)
        else:
            values |= {"limit TFLOP/s": limit.tflops, "share": reached / limit.tflops}
            yield measured(LIMIT, f"{what}, {stage}", {**values, "limit by": limit.by})


def peak(setup: Setup, engine: str, precision: str) -> tuple[Peak | None, str]:
    """The limit, by the engine itself, else by PyTorch; or None and why not."""
    side = setup.settings.matrix_side
    try:
        return Peak(_by_engine(setup, engine, precision, side), engine), ""
    except (ImportError, ProtoleakError) as error:
        reason = f"{engine}: {error}"
    try:
        return Peak(_by_torch(precision, side), "torch"), ""
    except (ImportError, ProtoleakError) as error:
        return None, f"{reason}; {error}"


def _by_engine(setup: Setup, engine: str, precision: str, side: int) -> float:
    graph = Graph("product of matrices", products(precision, side), ("y",))
    options = EngineOptions(device=setup.settings.device, batch_optimum=side, batch_maximum=side)
    with own_cache(setup.cache / "products"), tf32(precision == "tf32"):
        opened = setup.open_stream_engine(engine, graph, options)
    try:
        x = opened.buffers(side)["x"]
        opened.worker.write(x, np.random.default_rng(2).standard_normal(x.shape).astype(np.float32))
        best = min(opened.worker.timed(lambda: opened.enqueue(side), REPEATS) for _ in range(RUNS))
    finally:
        opened.close()
    return 2 * CHAIN * side**3 / best / 1e9


def _by_torch(precision: str, side: int) -> float:
    import torch

    if not torch.cuda.is_available():
        raise EngineUnavailable("this PyTorch has no CUDA")
    if precision not in TORCH_DTYPES:
        raise EngineUnavailable(f"PyTorch has no public product of matrices in {precision}")
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    one = torch.randn(side, side, device="cuda", dtype=getattr(torch, TORCH_DTYPES[precision]))
    spent = []
    for _ in range(RUNS + 1):  # the first warms up
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        for _ in range(REPEATS):
            one @ one
        end.record()
        torch.cuda.synchronize()
        spent.append(start.elapsed_time(end) / REPEATS)
    return float(2 * side**3 / min(spent[1:]) / 1e9)
