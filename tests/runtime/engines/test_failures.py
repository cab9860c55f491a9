"""What GPU libraries say becomes one line with the reason and the remedy. Messages as the libraries print them."""

from __future__ import annotations

import pytest

from protoleak.errors import EngineError, EngineOutOfMemory, EngineUnavailable
from protoleak.runtime.engines.failures import explain


@pytest.mark.parametrize(
    ("message", "kind", "says"),
    [
        (
            "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. "
            "/onnxruntime_src/onnxruntime/bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal"
            "(size_t, bool) Failed to allocate memory for requested buffer of size 8589934592",
            EngineOutOfMemory,
            "smaller --batch-size",
        ),
        (
            "CUDA failure 2: out of memory ; GPU=0 ; hostname=x ; expr=cudaMalloc(&p, size)",
            EngineOutOfMemory,
            "GPU memory",
        ),
        (
            "[defaultAllocator.cpp::allocate::19] Error Code 1: Cuda Runtime (out of memory)",
            EngineOutOfMemory,
            "--workspace",
        ),
        ("CUDA_ERROR_OUT_OF_MEMORY: The API call failed", EngineOutOfMemory, "smaller --batch-size"),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Failed to load library libonnxruntime_providers_cuda.so with error: "
            "libcudnn.so.9: cannot open shared object file: No such file or directory",
            EngineUnavailable,
            'cuDNN .*pip install "onnxruntime-gpu\\[cuda,cudnn\\]"',
        ),
        (
            "libcudnn_adv.so.9: cannot open shared object file: No such file or directory",
            EngineUnavailable,
            "cannot load cuDNN",
        ),
        (
            'Error loading "onnxruntime_providers_cuda.dll" which depends on "cudnn64_9.dll" which is missing.',
            EngineUnavailable,
            "cannot load cuDNN",
        ),
        (
            "Failed to load library libonnxruntime_providers_tensorrt.so with error: libnvinfer.so.10: cannot open "
            "shared object file: No such file or directory",
            EngineUnavailable,
            "cannot load TensorRT .*pip install tensorrt",
        ),
        ("libcublasLt.so.12: cannot open shared object file", EngineUnavailable, "cannot load a CUDA library"),
        (
            "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version",
            EngineUnavailable,
            "install a newer driver",
        ),
        ("cudaErrorNoDevice: no CUDA-capable device is detected", EngineUnavailable, "finds no NVIDIA GPU"),
        (
            "INVALID_ARGUMENT : Got invalid dimensions for input: x",
            EngineError,
            "the attributor failed in .*invalid dim",
        ),
    ],
)
def test_message_is_told_apart_and_has_its_remedy(message: str, kind: type[Exception], says: str) -> None:
    error = explain(message, "attributor", "onnxruntime-cuda")
    assert type(error) is kind
    import re

    assert re.search(says, str(error))
    assert "\n" not in str(error)


def test_first_line_that_says_something_is_the_reason() -> None:
    error = explain("\n\nException from src/core.cpp:1:\nthe tensor is too small\nmore", "attributor", "tensorrt")
    assert str(error) == "the attributor failed in tensorrt: the tensor is too small"
