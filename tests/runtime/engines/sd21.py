"""A latent encoder of Stable Diffusion 2.1's size with random weights, 256 × 256, in each precision."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from diffusers import AutoencoderKL
from onnxruntime import quantization

SIDE = 256


class Encoder(torch.nn.Module):
    """uint8 [N, 256, 256, 3] → z0 float32 [N, 4, 32, 32]: the posterior mean, computed in `dtype`."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        whole = AutoencoderKL(
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
            block_out_channels=[128, 256, 512, 512],
            layers_per_block=2,
            latent_channels=4,
        )
        self.dtype = dtype
        self.encoder, self.quant_conv = whole.encoder.to(dtype), whole.quant_conv.to(dtype)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        pixels = image.to(self.dtype).permute(0, 3, 1, 2) / 127.5 - 1  # TensorRT transposes no bytes
        return self.quant_conv(self.encoder(pixels))[:, :4].to(torch.float32)


def exported(dtype: torch.dtype) -> bytes:
    """The ONNX model, batch dynamic, opset 20."""
    program = torch.onnx.export(
        Encoder(dtype).eval(),
        (torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8),),
        dynamo=True,
        opset_version=20,
        input_names=["image"],
        output_names=["z0"],
        dynamic_shapes=({0: torch.export.Dim("n", min=1, max=64)},),
        external_data=False,
        verbose=False,
    )
    buffer = io.BytesIO()
    onnx.save(program.model_proto, buffer)
    return buffer.getvalue()


class _Noise(quantization.CalibrationDataReader):  # type: ignore[misc]  # onnxruntime carries no types
    """One image of noise. Good enough to build from, never to judge with: the exporter calibrates on real images."""

    def __init__(self) -> None:
        image = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
        self._left = [{"image": image}]

    def get_next(self) -> dict[str, Any] | None:
        return self._left.pop() if self._left else None


def quantised(model: bytes, folder: Path) -> bytes:
    """The same with explicit Q/DQ around its convolutions: per channel, symmetric."""
    source, target = folder / "fp32.onnx", folder / "int8.onnx"
    source.write_bytes(model)
    quantization.quantize_static(
        source,
        target,
        _Noise(),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
    )
    return target.read_bytes()
