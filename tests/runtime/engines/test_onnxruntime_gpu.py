"""ONNX Runtime's GPU build: what can be shown of it without a GPU."""

from __future__ import annotations

import importlib.metadata

import numpy as np
import pytest

from protoleak.errors import EngineError, EngineUnavailable
from protoleak.runtime.engines import EngineOptions, open_engine
from protoleak.runtime.engines import onnxruntime as cpu_module
from protoleak.runtime.engines import onnxruntime_gpu as module
from protoleak.runtime.engines.gpu import Gpu

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx", reason="onnx makes the graphs")
from tests.runtime.engines.graphs import images, network  # noqa: E402

GPU = Gpu("NVIDIA GeForce RTX 4070", "8.9", 12 * 2**30, integrated=False)


@pytest.fixture
def both_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """What pip lists after `pip install onnxruntime-gpu` beside onnxruntime."""
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "1.31.1" if name.startswith("onnxruntime") else real(name)
    )


@pytest.mark.usefixtures("both_packages")
def test_half_overwritten_module_names_the_two_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(onnxruntime, "InferenceSession")
    with pytest.raises(EngineUnavailable, match="half overwritten") as caught:
        open_engine("onnxruntime", network("fp32"))
    assert "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install onnxruntime" in str(caught.value)


@pytest.mark.usefixtures("both_packages")
def test_cpu_build_written_over_the_gpu_build_names_the_two_commands() -> None:
    with pytest.raises(EngineUnavailable, match="installed over onnxruntime-gpu") as caught:
        module.import_gpu_build("onnxruntime-cuda")
    assert 'pip uninstall -y onnxruntime onnxruntime-gpu, then pip install "onnxruntime-gpu[cuda,cudnn]"' in str(
        caught.value
    )


def test_cpu_build_alone_names_the_commands_too() -> None:
    with pytest.raises(EngineUnavailable, match=r"another build of ONNX Runtime.*onnxruntime-gpu"):
        module.import_gpu_build("onnxruntime-tensorrt")


def test_one_package_alone_is_not_taken_for_half_overwritten() -> None:
    assert not cpu_module.both_installed()


@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider' is not in available provider names")
def test_session_that_fell_back_to_the_cpu_is_an_error_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime only warns in its log: here with a build that claims CUDA and gives the CPU."""
    monkeypatch.setattr(module, "find_gpu", lambda _: GPU)
    monkeypatch.setattr(module, "import_gpu_build", lambda _: onnxruntime)
    monkeypatch.setattr(module, "_load_problem", lambda library: f"{library}.so.9: cannot open shared object file")
    monkeypatch.setitem(module.LIBRARIES, module.CUDA, ("libcudnn",))
    with pytest.raises(EngineUnavailable, match="cannot load cuDNN"):
        open_engine("onnxruntime-cuda", network("fp32"))
    monkeypatch.setattr(module, "_load_problem", lambda _: None)
    with pytest.raises(EngineUnavailable, match="gave CPUExecutionProvider where CUDAExecutionProvider was asked for"):
        open_engine("onnxruntime-cuda", network("fp32"))


def bound(batch_maximum: int | None = None) -> module.BoundSession:
    """The path of bound memory, on the one device that is everywhere."""
    graph = network("fp32")
    session = onnxruntime.InferenceSession(graph.model, providers=["CPUExecutionProvider"])
    return module.BoundSession(onnxruntime, session, "onnxruntime-cuda", graph, "cpu", 0, batch_maximum)


def test_bound_memory_gives_what_a_plain_run_gives_and_is_used_again() -> None:
    session = bound()
    reference = open_engine("onnxruntime", network("fp32"))
    first, second = images(3, seed=1), images(3, seed=2)
    results = [session.run({"x": batch})["y"] for batch in (first, second)]
    for batch, result in zip((first, second), results, strict=True):
        # Batches are run whole here, so sums may be in another order: float32 rounding.
        np.testing.assert_allclose(result, reference.run({"x": batch})["y"], atol=2e-6)
    assert len(session._inputs) == 1  # the second batch went into the memory of the first
    np.testing.assert_array_equal(session.run({"x": first})["y"], results[0])


def test_batches_larger_than_the_profile_are_run_in_parts_in_order() -> None:
    session, x = bound(batch_maximum=4), images(9)
    np.testing.assert_allclose(session.run({"x": x})["y"], bound().run({"x": x})["y"], atol=2e-6)
    assert {shape[0] for _, shape in session._inputs} == {4, 1}


def test_bound_memory_refuses_nan_and_names_the_stage_of_failures() -> None:
    session = bound()
    with pytest.raises(EngineError, match="attributor gave 16 of 16"):
        session.run({"x": np.full((1, 8, 16, 16), np.nan, np.float32)})
    with pytest.raises(EngineError, match="the attributor failed in onnxruntime-cuda"):
        session.run({"x": np.zeros((1, 8, 9, 16), np.float32)})


def test_tensorrt_provider_gets_one_profile_and_a_cache_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("PROTOLEAK_CACHE", str(tmp_path))
    graph = network("fp32")
    shapes = module._input_shapes(onnxruntime, graph, "onnxruntime-tensorrt")
    assert shapes == {"x": [8, 16, 16]}
    options = EngineOptions(batch_optimum=2, batch_maximum=4, workspace_mib=512)
    settings = module._tensorrt_options(onnxruntime, graph, GPU, shapes, options)
    assert settings["trt_profile_min_shapes"] == "x:1x8x16x16"
    assert settings["trt_profile_opt_shapes"] == "x:2x8x16x16"
    assert settings["trt_profile_max_shapes"] == "x:4x8x16x16"
    assert settings["trt_max_workspace_size"] == 512 * 2**20
    assert "trt_fp16_enable" not in settings  # precision is in the graph's types alone
    other = module._tensorrt_options(onnxruntime, network("fp16"), GPU, shapes, options)
    assert other["trt_engine_cache_path"] != settings["trt_engine_cache_path"]
