"""What the messages of GPU libraries mean to a user."""

from __future__ import annotations

import re

from protoleak.errors import EngineError, EngineOutOfMemory, EngineUnavailable, ProtoleakError, first_line

OUT_OF_MEMORY = re.compile(
    r"out of memory|outofmemory|failed to allocate memory|OUT_OF_MEMORY|cudaErrorMemoryAllocation|bad_alloc"
    r"|Available memory of .* is smaller|CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED|insufficient memory",
    re.IGNORECASE,
)
MISSING_CUDNN = re.compile(
    r"libcudnn\w*\.so|cudnn\w*64_\d+\.dll|CUDNN_STATUS_NOT_INITIALIZED|Require cuDNN", re.IGNORECASE
)
MISSING_TENSORRT = re.compile(r"libnv(infer|onnxparser)\w*\.so|nv(infer|onnxparser)\w*\.dll", re.IGNORECASE)
MISSING_CUDA = re.compile(r"lib(cublas|cublasLt|cudart|cufft|curand|nvrtc)\w*\.so|(cublas|cudart|cufft)\w*64_\d+\.dll")
OLD_DRIVER = re.compile(r"driver version is insufficient|cudaErrorInsufficientDriver|CUDA_ERROR_SYSTEM_DRIVER_MISMATCH")
NO_GPU = re.compile(r"no CUDA-capable device|cudaErrorNoDevice|CUDA_ERROR_NO_DEVICE|libcuda\.so\.1: cannot open")


def explain(error: object, stage: str, engine: str) -> ProtoleakError:
    """The error to raise for a GPU library's own, with the reason and the remedy.

    Args:
        error: the library's exception or message.
        stage: the graph's, for the message.
        engine: the engine's name in `ENGINES`.
    """
    text, reason = str(error), first_line(error)
    if OUT_OF_MEMORY.search(text):
        return EngineOutOfMemory(
            f"{engine} ran out of GPU memory in the {stage} ({reason}): use a smaller --batch-size, end other work on "
            "this GPU, or limit what building may use with `protoleak build-plans --workspace`; --engine onnxruntime "
            "needs no GPU"
        )
    if MISSING_TENSORRT.search(text):
        return EngineUnavailable(
            f"{engine} cannot load TensorRT ({reason}): pip install tensorrt (on a Jetson: sudo apt install "
            "tensorrt), in the version that this onnxruntime-gpu was built with"
        )
    if MISSING_CUDNN.search(text):
        return EngineUnavailable(
            f'{engine} cannot load cuDNN ({reason}): pip install "onnxruntime-gpu[cuda,cudnn]" (on a Jetson: sudo apt '
            "install nvidia-jetpack)"
        )
    if OLD_DRIVER.search(text):
        return EngineUnavailable(
            f"{engine}: NVIDIA's driver is older than the CUDA libraries need ({reason}): install a newer driver, or "
            "libraries for the CUDA version that `nvidia-smi` shows"
        )
    if NO_GPU.search(text):
        return EngineUnavailable(f"{engine} finds no NVIDIA GPU ({reason}): choose --engine onnxruntime or openvino")
    if MISSING_CUDA.search(text):
        return EngineUnavailable(
            f'{engine} cannot load a CUDA library ({reason}): pip install "onnxruntime-gpu[cuda,cudnn]", or install '
            "the CUDA toolkit"
        )
    return EngineError(f"the {stage} failed in {engine}: {reason}")
