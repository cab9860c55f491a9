"""ONNX Runtime on a stream of ours, with host memory for the GPU's and the processor's provider for CUDA's.

tests/gpu has the real thing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protoleak.bundle.bundle import Bundle
from protoleak.errors import EngineError, EngineUnavailable, MissingExtra
from protoleak.runtime.cuda.noising import CudaNoising
from protoleak.runtime.engines import EngineOptions, Graph, open_engine
from protoleak.runtime.engines import onnxruntime_gpu as gpu_module
from protoleak.runtime.engines import onnxruntime_stream as module
from protoleak.runtime.engines.gpu import Gpu
from protoleak.runtime.executors import ExpectedShapes, Graphs, HostExecutor, open_executor
from protoleak.runtime.executors.gpu import GpuExecutor
from protoleak.runtime.executors.gpu_opening import for_looks
from protoleak.runtime.noising import Noising

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx", reason="onnx makes the graphs")
pytest.importorskip("tensorrt_rtx", reason="the played worker is TensorRT's too")

from tests.runtime.engines.graphs import images, network  # noqa: E402
from tests.runtime.executors.played_executor import ExecutorWorker, make_images  # noqa: E402

GPU = Gpu("NVIDIA H100 80GB HBM3", "9.0", 80 * 2**30, integrated=False)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the provider would have been given, where the processor's takes its place."""
    kept: list[Any] = []

    def processor(_: Any, graph: Graph, name: str, providers: list[Any], threads: int | None) -> Any:
        kept.append((name, providers, threads))
        return onnxruntime.InferenceSession(graph.model, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(module, "find_gpu", lambda _: GPU)
    monkeypatch.setattr(module, "import_gpu_build", lambda _: onnxruntime)
    monkeypatch.setattr(module, "open_session", processor)
    return kept


def opened(graph: Graph, worker: Any = None, **options: Any) -> module.OnnxRuntimeStreamEngine:
    played: Any = worker or ExecutorWorker(None)  # type: ignore[arg-type]  # nothing is noised
    return module.OnnxRuntimeStreamEngine(graph, EngineOptions(**options), played, device_type="cpu")


def test_the_provider_gets_the_workers_stream_and_computes_float32_in_float32(given: list[Any]) -> None:
    engine = opened(network("fp32"))
    ((name, ((provider, settings),), _),) = given
    assert (name, provider) == ("onnxruntime-cuda", "CUDAExecutionProvider")
    assert settings["user_compute_stream"] == str(engine.worker.stream.handle)
    assert (settings["use_tf32"], settings["device_id"]) == (0, 0)
    assert engine.describe().settings["tf32"] == "off"


@pytest.mark.usefixtures("given")
def test_it_gives_what_a_plain_session_gives_in_parts_and_in_order() -> None:
    reference, engine = open_engine("onnxruntime", network("fp32")), opened(network("fp32"))
    engine.batch_maximum = 4
    for seed in (1, 2):
        x = images(9, seed=seed)
        np.testing.assert_allclose(engine.run({"x": x})["y"], reference.run({"x": x})["y"], atol=2e-6)
    memory = engine.buffers(4)
    assert {name: array.pointer for name, array in engine.buffers(4).items()} == {
        name: array.pointer for name, array in memory.items()
    }


@pytest.mark.usefixtures("given")
def test_a_run_reads_the_memory_that_is_bound_to_it() -> None:
    engine = opened(network("fp32"))
    theirs = engine.worker.buffer("theirs", engine.buffers(2)["x"].shape, np.float32)
    x = images(2, seed=5)
    engine.worker.write(theirs, x)
    engine.enqueue(2, {"x": theirs})
    found = engine.worker.read(engine.buffers(2)["y"])
    np.testing.assert_allclose(found, opened(network("fp32")).run({"x": x})["y"], atol=2e-6)


@pytest.mark.usefixtures("given")
def test_what_it_cannot_run_is_an_error_that_names_the_stage() -> None:
    engine = opened(network("fp32"))
    with pytest.raises(EngineError, match="attributor gave 16 of 16"):
        engine.run({"x": np.full((1, 8, 16, 16), np.nan, np.float32)})
    with pytest.raises(EngineError, match=r"the attributor failed in onnxruntime-cuda: 'x' is float32 \[1, 8, 9, 16\]"):
        engine.run({"x": np.zeros((1, 8, 9, 16), np.float32)})
    with pytest.raises(EngineError, match="a batch of 257 for an engine of 1 to 256"):
        engine.buffers(257)


@pytest.mark.usefixtures("given")
def test_closing_twice_is_closing_once() -> None:
    engine = opened(network("fp32"))
    engine.close()
    engine.close()
    assert "close" not in engine.worker.log  # type: ignore[attr-defined]  # the worker is somebody else's


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize("kind", ["tiny_bundle", "tiny_look_bundle"])
def test_an_executor_on_the_gpu_gives_the_host_executors_outputs(kind: str, request: pytest.FixtureRequest) -> None:
    bundle = Bundle.load(request.getfixturevalue(kind))
    graphs, manifest = Graphs.of_variant(bundle.variant("fp32")), bundle.manifest
    noising, looks = Noising.of(manifest, bundle.noise_bank), len(manifest.preprocessing.looks)
    worker: Any = ExecutorWorker(noising)
    options = EngineOptions()
    encoder, attributor = (
        module.OnnxRuntimeStreamEngine(graph, given_options, worker, device_type="cpu")
        for graph, given_options in (
            (graphs.latent_encoder, for_looks(options, looks)),
            (graphs.attributor, options),
        )
    )
    between = None if manifest.attributor_input == "z0" else CudaNoising(worker, noising)
    shapes = ExpectedShapes(bundle.path, manifest)
    executor = GpuExecutor(worker, encoder, attributor, between, shapes, options)
    reference = open_executor("onnxruntime", graphs, manifest, bundle.noise_bank, threads=1)
    executor.batch_maximum = 4
    for faces in (1, 6, 6, 1, 6):
        pixels = make_images(faces * looks, 10 * faces)
        found, expected = executor.run(pixels).outputs, reference.run(pixels).outputs
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-4, err_msg=name)  # rounding in a batch
    assert executor.describe().settings["cuda_graph"] == "no: ONNX Runtime's runs cannot be captured safely"
    executor.close()


@pytest.mark.parametrize(
    "missing", [MissingExtra("cuda-core", "cuda"), EngineUnavailable("the CUDA compiler NVRTC cannot be loaded")]
)
def test_without_what_compiles_kernels_the_engines_run_from_host_memory_and_say_why(
    missing: Exception, monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path
) -> None:
    def no_compiler() -> None:
        raise missing

    bundle = Bundle.load(tiny_bundle)
    monkeypatch.setattr("protoleak.runtime.cuda.library.nvrtc_version", no_compiler)
    monkeypatch.setattr(
        "protoleak.runtime.executors.open_engine",
        lambda name, graph, **_: open_engine("onnxruntime", graph) if name == "onnxruntime-cuda" else None,
    )
    graphs = Graphs.of_variant(bundle.variant("fp32"))
    executor = open_executor("onnxruntime-cuda", graphs, bundle.manifest, bundle.noise_bank)
    assert isinstance(executor, HostExecutor)
    assert executor.describe().settings["noising"] == f"on the CPU: {missing}"


def test_a_provider_whose_library_is_missing_is_found_before_a_session_is_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu_module.sys, "platform", "linux")
    monkeypatch.setitem(gpu_module.LIBRARIES, gpu_module.TENSORRT, ("libnvinfer_that_is_nowhere",))
    monkeypatch.setitem(gpu_module.LIBRARIES, gpu_module.CUDA, ())
    assert gpu_module.library_problem("onnxruntime-cuda") is None
    assert "libnvinfer_that_is_nowhere" in str(gpu_module.library_problem("onnxruntime-tensorrt"))
