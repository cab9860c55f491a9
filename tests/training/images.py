"""Synthetic images of two generators and a small latent encoder, for tests of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

IMAGE_SIZE = 64


def make_image(kind: str, seed: int, size: tuple[int, int] = (72, 80)) -> Image.Image:
    """A smooth random image with the trace of a kind: stripes along "rows" or "columns", or "none"."""
    random = np.random.default_rng([seed, *kind.encode()])
    width, height = size
    smooth = Image.fromarray(random.integers(40, 216, size=(4, 4, 3), dtype=np.uint8)).resize(size, Image.BICUBIC)
    wave = 25 * np.sin(2 * np.pi * np.arange(max(size)) / 24)
    traces = {"rows": wave[:height, None, None], "columns": wave[None, :width, None]}
    trace = traces.get(kind, 0.0)
    pixels = np.asarray(smooth, dtype=np.float64) + trace + random.normal(scale=4, size=(height, width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def write_images(folder: Path, kind: str, count: int, first_seed: int = 0) -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        make_image(kind, first_seed + index).save(folder / f"{index:03d}.png")


def write_latent_encoder(path: Path) -> Path:
    """One convolution: float32 [N, 3, S, S] → [N, 4, S/8, S/8]."""
    weight = np.random.default_rng(0).normal(scale=0.15, size=(4, 3, 8, 8)).astype(np.float32)
    node = helper.make_node("Conv", ["image", "weight"], ["latent"], strides=[8, 8], kernel_shape=[8, 8])
    graph = helper.make_graph(
        [node],
        "encoder",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "S", "S"])],
        [helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["N", 4, "h", "w"])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path
