"""How a plan is run: really built, on a GPU that is played (see played_tensorrt.py). tests/gpu has the real thing."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from protoleak.errors import EngineError, EngineOutOfMemory
from protoleak.runtime.engines import EngineOptions, Graph, open_engine
from protoleak.runtime.engines.gpu import Gpu

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is an extra")
pytest.importorskip("onnx", reason="onnx makes the graphs")

import onnx
from onnx import TensorProto, helper

from protoleak.runtime.engines.tensorrt import ports
from protoleak.runtime.engines.tensorrt import runtime as module
from protoleak.runtime.engines.tensorrt.builder import log_class
from protoleak.runtime.engines.tensorrt.library import load_library
from tests.runtime.engines.graphs import images, network
from tests.runtime.engines.played_tensorrt import PlayedModule, PlayedWorker, view_of

GPU = Gpu("NVIDIA GeForce RTX 4070", "8.9", 12 * 2**30, integrated=False)


@pytest.fixture(autouse=True)
def played(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROTOLEAK_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "find_gpu", lambda _: GPU)


def engine(
    monkeypatch: pytest.MonkeyPatch, batch_maximum: int = 4, **failures: bool
) -> tuple[module.TensorRtEngine, PlayedWorker, PlayedModule]:
    played = PlayedModule(network("fp32"), batch_maximum, **failures)
    library = replace(load_library("tensorrt-rtx"), module=played)
    monkeypatch.setattr(module, "load_library", lambda _: library)
    worker = PlayedWorker()
    options = EngineOptions(batch_maximum=batch_maximum)
    return module.TensorRtEngine("tensorrt-rtx", network("fp32"), options, worker), worker, played  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_batches_larger_than_the_plan_are_run_in_parts_in_order(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    opened, _, _ = engine(monkeypatch)
    x = images(count)
    expected = open_engine("onnxruntime", network("fp32"), threads=1).run({"x": x})["y"]
    np.testing.assert_allclose(opened.run({"x": x})["y"], expected, atol=2e-6)


def test_memory_is_made_once_per_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, worker, _ = engine(monkeypatch)
    for _ in range(3):
        opened.run({"x": images(2)})
        opened.run({"x": images(4)})
    assert len(worker.made) == 4  # input and output of two batch sizes


def test_kernels_can_write_the_input_and_another_engine_can_give_it(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, worker, _ = engine(monkeypatch)
    x = images(2)
    expected = open_engine("onnxruntime", network("fp32"), threads=1).run({"x": x})["y"]
    memory = opened.buffers(2)
    worker.write(memory["x"], x)
    opened.enqueue(2)
    np.testing.assert_allclose(view_of(memory["y"]), expected, atol=2e-6)
    elsewhere = worker.buffer("of another engine", x.shape, np.float32)
    worker.write(elsewhere, x[::-1])
    opened.enqueue(2, {"x": elsewhere})
    np.testing.assert_allclose(view_of(memory["y"]), expected[::-1], atol=2e-6)


def test_record_names_gpu_versions_batch_rule_layers_and_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, _, played = engine(monkeypatch)
    described = opened.describe()
    assert described.name == "tensorrt-rtx"
    assert described.device == "NVIDIA GeForce RTX 4070 (compute capability 8.9)"
    assert described.versions["tensorrt-rtx"] == load_library("tensorrt-rtx").version
    assert described.settings["batch"].startswith("together")
    assert described.settings["layers"].endswith(" fp32")  # the builder's, where the inspector tells nothing
    assert described.settings["plan_sha256"] == hashlib.sha256(played.loaded[0]).hexdigest()


def test_second_engine_takes_the_plan_from_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    first = engine(monkeypatch)[2].loaded[0]
    monkeypatch.setattr(
        "protoleak.runtime.engines.tensorrt.plans.build_plan", lambda *_: pytest.fail("it was built already")
    )
    assert engine(monkeypatch)[2].loaded[0] == first


def test_wrong_shape_type_and_batch_are_errors_that_name_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, _, _ = engine(monkeypatch)
    with pytest.raises(EngineError, match=r"attributor failed in tensorrt-rtx: 'x' is float32 \[1, 8, 9, 16\]"):
        opened.run({"x": np.zeros((1, 8, 9, 16), np.float32)})
    with pytest.raises(EngineError, match="'x' is float64"):
        opened.run({"x": np.zeros((1, 8, 16, 16))})
    with pytest.raises(EngineError, match="a batch of 5 for a plan of 1 to 4"):
        opened.enqueue(5)


def test_nan_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, _, _ = engine(monkeypatch)
    with pytest.raises(EngineError, match="attributor gave 16 of 16 values of 'y' as NaN"):
        opened.run({"x": np.full((1, 8, 16, 16), np.nan, np.float32)})


def test_context_that_does_not_fit_is_named_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineOutOfMemory, match="tensorrt-rtx ran out of GPU memory in the attributor"):
        engine(monkeypatch, out_of_memory=True)


def test_a_plan_of_another_graph_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that lies in the cache under the name of this graph."""
    other = onnx.load_model_from_string(network("fp32").model)
    other.graph.output[0].name = "q"
    other.graph.node[-1].output[0] = "q"
    played = PlayedModule(Graph("attributor", other.SerializeToString(), ("q",)), 4)
    library = replace(load_library("tensorrt-rtx"), module=played)
    monkeypatch.setattr(module, "load_library", lambda _: library)
    with pytest.raises(EngineError, match=r"sees another attributor than was checked: its outputs are q where"):
        module.TensorRtEngine("tensorrt-rtx", network("fp32"), EngineOptions(batch_maximum=4), PlayedWorker())  # type: ignore[arg-type]


@pytest.mark.parametrize("what", ["input", "output", "shape", "type"])
def test_a_network_that_the_parser_read_otherwise_is_refused(what: str) -> None:
    """The parser is TensorRT-RTX's own; what the check saw is changed, since no file is known that they read apart."""
    library = load_library("tensorrt-rtx")
    network_of = library.module.Builder(log_class(library.module)())
    parsed = network_of.create_network(0)
    parser = library.module.OnnxParser(parsed, log_class(library.module)())
    assert parser.parse(network("fp32").model)
    ports.check_network(library, network("fp32"), parsed)
    seen = onnx.load_model_from_string(network("fp32").model)
    if what == "input":
        seen.graph.input[0].name = "z"
    elif what == "output":
        seen.graph.output.append(helper.make_tensor_value_info("r0", TensorProto.FLOAT, None))
    elif what == "shape":
        seen.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3
    else:
        seen.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    graph = Graph("attributor", seen.SerializeToString(), ("y",))
    with pytest.raises(
        EngineError, match=r"tensorrt-rtx .* sees another attributor than was checked: .*(input|output)"
    ):
        ports.check_network(library, graph, parsed)


def test_run_that_tensorrt_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, _, _ = engine(monkeypatch, fails=True)
    with pytest.raises(EngineError, match="attributor failed in tensorrt-rtx"):
        opened.run({"x": images(1)})
