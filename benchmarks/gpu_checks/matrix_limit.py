"""How much of what this GPU multiplies at all do the networks reach?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.gpu_checks.latency import stage_times
from benchmarks.gpu_checks.rows import Number, Row, attempted, measured, not_measured
from benchmarks.gpu_checks.setup import TENSORRT, Setup, own_cache, tf32
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.graph_sizes import follow
from protoleak.bundle.onnx_model import FLOAT, UINT8, read_model
from protoleak.bundle.operators.base import Sized
from protoleak.errors import EngineUnavailable, ProtoleakError
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.engines import Graph

LIMIT = "share of the matrix limit"
REPEATS, RUNS = 20, 5
CHAIN = 8  # products one after another: what goes in and comes out is then a small part of the time
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
    for engine, precision, why in setup.combinations(TENSORRT):
        what = f"{engine}, {precision}, batch {batch}"
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


def operations(bundle: Bundle) -> dict[str, float]:
    """Network → floating-point operations for one face: two for each multiply-add."""
    manifest, variant = bundle.manifest, bundle.variant("fp32")
    looks, side = len(manifest.preprocessing.looks), manifest.preprocessing.image_size
    encoder, attributor = read_model(variant.latent_encoder), read_model(variant.attributor)
    encoded = follow(encoder, [Sized(UINT8, (looks, side, side, 3))], looks)
    (z_t,) = attributor.inputs
    assert z_t.shape is not None  # the bundle was checked
    shape = tuple(length if isinstance(length, int) else 1 for length in z_t.shape)
    return {"latent_encoder": 2.0 * encoded.work, "attributor": 2.0 * follow(attributor, [Sized(FLOAT, shape)]).work}


def products(precision: str, side: int) -> bytes:
    """x float32 [N, side] times a constant square matrix, CHAIN times over, in the precision, as ONNX.

    Raises:
        ImportError: onnx is not installed.
    """
    from onnx import TensorProto, helper, numpy_helper

    matrix = (np.random.default_rng(1).standard_normal((side, side)) / np.sqrt(side)).astype(np.float32)
    constants, nodes, at = {"w": matrix}, [], "x"
    if precision == "fp16":
        constants["w"] = matrix.astype(np.float16)
        nodes.append(helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16))
        at = "h"
    elif precision == "int8":
        step = np.float32(np.abs(matrix).max() / 127)
        constants = {"q": np.round(matrix / step).astype(np.int8), "step": step, "zero": np.int8(0)}
        constants["x_step"] = np.float32(0.03)
        nodes.append(helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["w"]))
    for index in range(CHAIN):
        if precision == "int8":
            nodes.append(helper.make_node("QuantizeLinear", [at, "x_step", "zero"], [f"q{index}"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"q{index}", "x_step", "zero"], [f"d{index}"]))
            at = f"d{index}"
        nodes.append(helper.make_node("MatMul", [at, "w"], [f"m{index}"]))
        at = f"m{index}"
    nodes.append(helper.make_node("Cast", [at], ["y"], to=TensorProto.FLOAT))
    body = helper.make_graph(
        nodes,
        precision,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", side])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", side])],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


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
        opened = setup.open_plan(engine, graph, options)
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
