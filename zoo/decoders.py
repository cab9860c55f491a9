"""Small decoders of a diffusion latent space that differ only in how they up-sample.

Each is trained to invert the same encoder on the same images. What tells their outputs apart is what the method looks
for: the trace of the pipeline, not the content.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import nn

from protoleak.model.light_encoder import ResidualBlock

DISTURBANCE = 0.3  # of a sibling's first weights, in standard deviations of each tensor
Upsampling = Literal["nearest", "transposed", "subpixel", "bilinear"]


class ZeroInsertion(nn.Module):
    """Puts a zero after every row and column; a convolution after it is a transposed convolution of stride 2.

    Written so because PyTorch's own transposed convolution is several times slower on the CPU in bfloat16.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count, channels, height, width = x.shape
        spread = x.new_zeros(count, channels, height, 2, width, 2)
        spread[:, :, :, 0, :, 0] = x
        return spread.reshape(count, channels, 2 * height, 2 * width)


class Upsample(nn.Module):
    """Doubles height and width and changes the number of channels, in one of four ways."""

    def __init__(self, kind: Upsampling, channels_in: int, channels_out: int) -> None:
        super().__init__()
        if kind == "transposed":
            self.layers: nn.Module = nn.Sequential(ZeroInsertion(), nn.Conv2d(channels_in, channels_out, 3, padding=1))
        elif kind == "subpixel":
            self.layers = nn.Sequential(nn.Conv2d(channels_in, 4 * channels_out, 3, padding=1), nn.PixelShuffle(2))
        else:
            upsample = nn.Upsample(scale_factor=2, mode=kind)
            self.layers = nn.Sequential(upsample, nn.Conv2d(channels_in, channels_out, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layers(x)
        return result


class Decoder(nn.Module):
    """Latent float32 [N, C, 32, 32] → image float32 [N, 3, 256, 256] in [0, 1]."""

    def __init__(self, kind: Upsampling, latent_channels: int, widths: tuple[int, int, int] = (96, 64, 32)) -> None:
        super().__init__()
        first, second, third = widths
        self.layers = nn.Sequential(
            nn.Conv2d(latent_channels, first, 3, padding=1),
            nn.ReLU(),
            ResidualBlock(first),
            ResidualBlock(first),
            Upsample(kind, first, second),
            nn.ReLU(),
            ResidualBlock(second),
            Upsample(kind, second, third),
            nn.ReLU(),
            ResidualBlock(third),
            Upsample(kind, third, 16),
            nn.ReLU(),
            nn.Conv2d(16, 3, 3, padding=1),
        )

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.layers(latent))


def train_decoder(
    kind: Upsampling,
    latents: npt.NDArray[np.float16],
    images: npt.NDArray[np.uint8],
    steps: int,
    batch_size: int,
    seed: int,
    precision: str,
    out: Path,
    start: Path | None = None,
) -> float:
    """Trains one decoder on latents [n, C, 32, 32] and their images uint8 [n, 256, 256, 3].

    Args:
        start: weights of a trained decoder to start from, disturbed by noise of the seed; None for fresh weights.

    Returns the mean absolute error over the last tenth of the steps, pixels in [0, 1].
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    decoder = Decoder(kind, latents.shape[1])
    if start is not None:
        decoder.load_state_dict(load_file(start))
        with torch.no_grad():
            for parameter in decoder.parameters():
                parameter.add_(torch.randn_like(parameter) * DISTURBANCE * parameter.std(correction=0))
    decoder = decoder.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    losses: list[float] = []
    with Progress() as progress:
        bar = progress.add_task(f"decoder {kind}", total=steps)
        for step in range(steps):
            chosen = torch.randint(len(latents), (batch_size,), generator=generator).numpy()
            latent = torch.from_numpy(latents[chosen].astype(np.float32))
            target = torch.from_numpy(images[chosen]).permute(0, 3, 1, 2).float() / 255
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                image = decoder(latent.contiguous(memory_format=torch.channels_last))
            error = image.float() - target
            # Pixels alone give blur; the differences between neighbours ask for the edges as well.
            edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
            loss = error.abs().mean() + edges
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(error.detach().abs().mean()))
            schedule.step()
            progress.update(bar, completed=step + 1, description=f"decoder {kind}, L1 {np.mean(losses[-100:]):.4f}")
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in decoder.state_dict().items()}, out)
    return float(np.mean(losses[-max(1, steps // 10) :]))


def load_decoder(kind: Upsampling, latent_channels: int, path: Path) -> Decoder:
    """A decoder that `train_decoder` wrote."""
    decoder = Decoder(kind, latent_channels)
    decoder.load_state_dict(load_file(path))
    return decoder.eval()
