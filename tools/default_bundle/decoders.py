"""Small decoders of a diffusion latent space that differ only in how they up-sample.

Each is trained to invert the same encoder on the same pictures. What tells their outputs apart is what the method looks
for: the trace of the pipeline, not the content.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import nn

from protoleak.model.light_encoder import ResidualBlock

UPSAMPLING = ("nearest", "transposed", "subpixel", "bilinear")


class Upsample(nn.Module):
    """Doubles height and width and changes the number of channels, in one of four ways."""

    def __init__(self, kind: str, channels_in: int, channels_out: int) -> None:
        super().__init__()
        if kind == "transposed":
            self.layers: nn.Module = nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1)
        elif kind == "subpixel":
            self.layers = nn.Sequential(nn.Conv2d(channels_in, 4 * channels_out, 3, padding=1), nn.PixelShuffle(2))
        elif kind in ("nearest", "bilinear"):
            upsample = nn.Upsample(scale_factor=2, mode=kind)
            self.layers = nn.Sequential(upsample, nn.Conv2d(channels_in, channels_out, 3, padding=1))
        else:
            raise ValueError(f"up-sampling {kind!r}: give one of {', '.join(UPSAMPLING)}")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layers(x)
        return result


class Decoder(nn.Module):
    """Latent float32 [N, C, 32, 32] → picture float32 [N, 3, 256, 256] in [0, 1]."""

    def __init__(self, kind: str, latent_channels: int, widths: tuple[int, int, int] = (96, 64, 32)) -> None:
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
    kind: str, latents: npt.NDArray[np.float16], pictures: npt.NDArray[np.uint8], minutes: float, seed: int, out: Path
) -> None:
    """Trains one decoder for a fixed time on latents [n, C, 32, 32] and their pictures uint8 [n, 256, 256, 3]."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    decoder = Decoder(kind, latents.shape[1]).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=2e-3, weight_decay=1e-4)
    started, step, losses = time.monotonic(), 0, []
    with Progress() as progress:
        bar = progress.add_task(f"decoder {kind}", total=1.0)
        while (spent := (time.monotonic() - started) / (60 * minutes)) < 1:
            for group in optimiser.param_groups:
                group["lr"] = 2e-3 * 0.5 * (1 + np.cos(np.pi * spent))
            chosen = torch.randint(len(latents), (12,), generator=generator).numpy()
            latent = torch.from_numpy(latents[chosen].astype(np.float32))
            target = torch.from_numpy(pictures[chosen]).permute(0, 3, 1, 2).float() / 255
            with torch.autocast("cpu", torch.bfloat16):
                picture = decoder(latent.contiguous(memory_format=torch.channels_last))
            error = picture.float() - target
            # Pixels alone give blur; the differences between neighbours ask for the edges as well.
            edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
            loss = error.abs().mean() + edges
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(error.detach().abs().mean()))
            step += 1
            progress.update(bar, completed=spent, description=f"decoder {kind}, L1 {np.mean(losses[-100:]):.4f}")
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in decoder.state_dict().items()}, out)
    print(f"decoder {kind}: {step} steps, mean absolute error {np.mean(losses[-100:]):.4f}")


def load_decoder(kind: str, latent_channels: int, path: Path) -> Decoder:
    """A decoder that `train_decoder` wrote."""
    decoder = Decoder(kind, latent_channels)
    decoder.load_state_dict(load_file(path))
    return decoder.eval()
