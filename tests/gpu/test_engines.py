"""The engines for a GPU, on a GPU, compared with ONNX Runtime on the processor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import protoleak
from protoleak.runtime.cuda.device import CudaWorker
from protoleak.runtime.engines import EngineOptions, open_engine
from protoleak.runtime.engines.availability import availability

pytest.importorskip("onnx", reason="onnx makes the graphs")
from tests.gpu.agreement import agree
from tests.runtime.engines.graphs import images, network
from tests.tiny_bundle import make_image

GPU_ENGINES = ("tensorrt", "tensorrt-rtx", "onnxruntime-cuda", "onnxruntime-tensorrt")
TENSORRT = ("tensorrt", "tensorrt-rtx")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROTOLEAK_CACHE", str(tmp_path))


def needs(engine: str) -> None:
    found = availability(engine)
    if not found.runs:
        pytest.skip(found.detail)


@pytest.mark.parametrize("engine", GPU_ENGINES)
# fp32 without TF32: rounding of 72 products. fp16: 11 bits. int8: a value between two steps may be rounded either way.
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("fp16", 2e-3), ("int8", 5e-3)])
def test_each_variant_agrees_with_the_processor(engine: str, precision: str, tolerance: float) -> None:
    needs(engine)
    graph, x = network(precision), images(5)
    expected = open_engine("onnxruntime", graph).run({"x": x})["y"]
    opened = open_engine(engine, graph, options=EngineOptions(batch_maximum=4))
    agree(f"{engine}, {precision}, a convolution network", opened.run({"x": x})["y"], expected, atol=tolerance)


@pytest.mark.parametrize("engine", GPU_ENGINES)
def test_the_same_batch_gives_the_same_bits_every_time(engine: str) -> None:
    needs(engine)
    opened, x = open_engine(engine, network("fp32")), images(3)
    first = opened.run({"x": x})["y"]
    for _ in range(20):
        np.testing.assert_array_equal(opened.run({"x": x})["y"], first)


@pytest.mark.parametrize("engine", TENSORRT)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_inspector_shows_the_precision_of_the_variant(engine: str, precision: str) -> None:
    needs(engine)
    layers = open_engine(engine, network(precision)).describe().settings["layers"]
    assert precision in layers


@pytest.mark.parametrize("engine", GPU_ENGINES)
def test_verdicts_are_those_of_the_processor(engine: str, tiny_bundle: Path) -> None:
    needs(engine)
    images = [make_image(kind, seed) for kind in (0, 1, 2, None) for seed in (31, 32)]
    reference = protoleak.load(tiny_bundle, engine="onnxruntime")(images)
    for one, other in zip(protoleak.load(tiny_bundle, engine=engine)(images), reference, strict=True):
        assert (one.label, one.nearest) == (other.label, other.nearest)
        assert one.log_density == pytest.approx(other.log_density, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("engine", TENSORRT)
def test_a_run_can_be_captured_in_a_cuda_graph_and_replayed(engine: str, worker: CudaWorker) -> None:
    needs(engine)
    from protoleak.runtime.cuda.graph import GraphPerBatchSize, Stage
    from protoleak.runtime.engines.tensorrt.runtime import TensorRtEngine

    opened = TensorRtEngine(engine, network("fp32"), worker=worker)
    graph = GraphPerBatchSize(worker, [Stage("attributor", opened.enqueue)])
    memory = opened.buffers(2)
    results = []
    for seed in range(4):  # plain, captured, replayed, replayed with other values
        worker.write(memory["x"], images(2, seed % 2))
        graph.enqueue(2)
        results.append(worker.read(memory["y"]))
    assert graph.captured == (2,)
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_array_equal(results[1], results[3])
    graph.close()
