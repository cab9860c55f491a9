"""Verdicts on images that are on the GPU already, without a copy to the host and back.

    python examples/gpu_tensor.py

It needs an NVIDIA GPU, PyTorch, and TensorRT, TensorRT-RTX or ONNX Runtime's GPU build with the extra `cuda`, and says
so where one of them is missing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import protoleak
from protoleak.images.open import open_image

IMAGES = sorted(Path(__file__).with_name("images").glob("*.jpg"))


def main() -> None:
    screener = open_on_gpu()
    if screener is None:
        return
    try:
        import torch
    except ImportError:
        print('PyTorch is not installed, which holds the images on the GPU here: pip install "protoleak[export]"')
        return
    with screener:
        upright = screener.framing.upright
        looks = [screener.frame(open_image(path, path.name, upright=upright).image).pixels for path in IMAGES]
        images = torch.from_numpy(np.concatenate(looks)).cuda()  # uint8 [N·L, S, S, 3], RGB: L looks at each face
        for path, verdict in zip(IMAGES, screener(images), strict=True):
            print(f"{path.name}: {verdict.label}, {verdict.milliseconds.get('gpu', 0):.2f} ms on the GPU")


def open_on_gpu() -> protoleak.Screener | None:
    """The default bundle in an engine that takes images on the GPU, or None where there is none."""
    for engine in ("tensorrt", "tensorrt-rtx", "onnxruntime-cuda"):
        try:
            return protoleak.load(engine=engine)
        except protoleak.EngineUnavailable as error:
            print(f"not here: {error}")
    return None


if __name__ == "__main__":
    main()
