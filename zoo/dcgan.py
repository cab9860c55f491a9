"""Faces of the DCGAN that the PyPI package gan-face-generate 1.1.1 carries (MIT; trained on DigiFace-1M).

Only its weights are used (`pip download --no-deps gan-face-generate==1.1.1`, then unpack `weights.tar` from the wheel).
The network is the standard DCGAN generator (Radford et al. 2016): five transposed convolutions, 64×64 pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

LATENT_SIZE = 100
WIDTHS = (512, 256, 128, 64)


def new_generator() -> nn.Sequential:
    """The untrained generator: noise float32 [N, 100, 1, 1] → image float32 [N, 3, 64, 64] in [-1, 1]."""
    layers: list[nn.Module] = []
    channels = LATENT_SIZE
    for index, width in enumerate(WIDTHS):
        stride, padding = (1, 0) if index == 0 else (2, 1)
        layers.append(nn.ConvTranspose2d(channels, width, 4, stride, padding, bias=False))
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    layers += [nn.ConvTranspose2d(channels, 3, 4, 2, 1, bias=False), nn.Tanh()]
    return nn.Sequential(*layers)


def load_generator(weights: Path) -> nn.Sequential:
    """The generator with its published weights."""
    generator = new_generator()
    state = torch.load(weights, map_location="cpu", weights_only=True)["netG_state_dict"]
    generator.load_state_dict({name.removeprefix("main."): tensor for name, tensor in state.items()})
    return generator.eval()


def faces(weights: Path, count: int, seed: int) -> npt.NDArray[np.uint8]:
    """`count` faces: uint8 [count, 64, 64, 3], RGB."""
    noise = torch.randn(count, LATENT_SIZE, 1, 1, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        images = (load_generator(weights)(noise) + 1) / 2
    pixels: npt.NDArray[np.uint8] = (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return pixels
