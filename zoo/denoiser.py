"""A small denoiser of latents, trained once for all schedules: it is told the noise level, not the timestep."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from protoleak.arrays import Float32Array

WIDTHS = (64, 128, 192)  # at 32×32, 16×16 and 8×8
FREQUENCIES, TIME_WIDTH = 16, 128
LOWEST_SNR, HIGHEST_SNR = -6.0, 10.0  # logarithms; no start and no end of a sampler lies far outside


class TimedBlock(nn.Module):
    """x + conv(silu(shift + scale·conv(silu(x)))), where shift and scale depend on the noise level."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.modulation = nn.Linear(TIME_WIDTH, 2 * width)
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        scale, shift = self.modulation(time)[:, :, None, None].chunk(2, dim=1)
        hidden = self.first(F.silu(x)) * (1 + scale) + shift
        result: torch.Tensor = x + self.second(F.silu(hidden))
        return result


class Denoiser(nn.Module):
    """z_t float32 [N, C, 32, 32] and log SNR float32 [N] → v = α·ε − σ·z0 of z_t's shape (Salimans & Ho 2022).

    A U-Net of convolutions. Latents are in units of the training latents' spread, channel by channel; `latent_mean` and
    `latent_spread` keep them.
    """

    latent_mean: torch.Tensor
    latent_spread: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, TIME_WIDTH), nn.SiLU(), nn.Linear(TIME_WIDTH, TIME_WIDTH))
        self.enter = nn.Conv2d(channels, first, 3, padding=1)
        self.down = nn.ModuleList([TimedBlock(first), TimedBlock(second)])
        self.reduce = nn.ModuleList(
            [nn.Conv2d(first, second, 3, padding=1, stride=2), nn.Conv2d(second, third, 3, padding=1, stride=2)]
        )
        self.middle = nn.ModuleList([TimedBlock(third), TimedBlock(third)])
        self.widen = nn.ModuleList([nn.Conv2d(third, second, 1), nn.Conv2d(second, first, 1)])
        self.up = nn.ModuleList([TimedBlock(second), TimedBlock(first)])
        self.leave = nn.Conv2d(first, channels, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        self.register_buffer("latent_mean", torch.zeros(channels))
        self.register_buffer("latent_spread", torch.ones(channels))

    def forward(self, z: torch.Tensor, log_snr: torch.Tensor) -> torch.Tensor:
        time = self.time(_waves(log_snr))
        x = self.enter(z)
        skipped = []
        for block, reduce in zip(self.down, self.reduce, strict=True):
            x = block(x, time)
            skipped.append(x)
            x = reduce(x)
        for block in self.middle:
            x = block(x, time)
        for widen, block in zip(self.widen, self.up, strict=True):
            x = F.interpolate(widen(x), scale_factor=2, mode="nearest") + skipped.pop()
            x = block(x, time)
        result: torch.Tensor = self.leave(F.silu(x))
        return result


def _waves(log_snr: torch.Tensor) -> torch.Tensor:
    """Sines and cosines of the log SNR at geometrically spaced frequencies: [N] → [N, 32]."""
    frequencies = torch.exp(torch.linspace(math.log(0.1), math.log(10.0), FREQUENCIES))
    angles = log_snr.clamp(LOWEST_SNR, HIGHEST_SNR)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def train_denoiser(
    latents: np.ndarray[tuple[int, ...], np.dtype[np.float16]],
    steps: int,
    batch_size: int,
    seed: int,
    precision: str,
    out: Path,
) -> float:
    """Trains on latents float16 [n, C, 32, 32].

    Returns the mean squared error of v over the last tenth of the steps.
    """
    torch.manual_seed(seed)
    denoiser = Denoiser(latents.shape[1]).to(memory_format=torch.channels_last)
    denoiser.latent_mean.copy_(torch.from_numpy(latents.mean(axis=(0, 2, 3), dtype=np.float64)))
    denoiser.latent_spread.copy_(torch.from_numpy(latents.astype(np.float32).std(axis=(0, 2, 3)) + 1e-6))
    mean, spread = denoiser.latent_mean[:, None, None], denoiser.latent_spread[:, None, None]
    optimiser = torch.optim.AdamW(denoiser.parameters(), lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _learning_rate(step / steps))
    losses: list[float] = []
    with Progress() as progress:
        bar = progress.add_task("denoiser", total=steps)
        for step in range(steps):
            chosen = torch.randint(len(latents), (batch_size,)).numpy()
            z0 = (torch.from_numpy(latents[chosen].astype(np.float32)) - mean) / spread
            noise = torch.randn_like(z0)
            # Levels as a cosine schedule visits them.
            log_snr = (-2 * torch.log(torch.tan(torch.rand(batch_size) * (math.pi / 2)))).clamp(LOWEST_SNR, HIGHEST_SNR)
            alpha = log_snr.sigmoid().sqrt()[:, None, None, None]
            sigma = (-log_snr).sigmoid().sqrt()[:, None, None, None]
            z = (alpha * z0 + sigma * noise).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                predicted = denoiser(z, log_snr)
            loss = (predicted.float() - (alpha * noise - sigma * z0)).square().mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
            progress.update(bar, completed=step + 1, description=f"denoiser, loss {np.mean(losses[-100:]):.4f}")
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in denoiser.state_dict().items()}, out)
    return float(np.mean(losses[-max(1, steps // 10) :]))


def _learning_rate(progress: float) -> float:
    """Share of the highest: a linear rise over the first tenth of the steps, then half a cosine down to zero."""
    return min(progress / 0.1 + 0.01, (1 + math.cos(math.pi * progress)) / 2)


class LatentDenoiser:
    """A trained denoiser, with the units that it works in."""

    def __init__(self, path: Path) -> None:
        state = load_file(path)
        self._denoiser = Denoiser(len(state["latent_mean"])).eval()
        self._denoiser.load_state_dict(state)
        self._mean = state["latent_mean"].numpy()[:, None, None]
        self._spread = state["latent_spread"].numpy()[:, None, None]

    def standardised(self, latents: Float32Array) -> Float32Array:
        """Latents in units of the training latents' spread."""
        result: Float32Array = (latents - self._mean) / self._spread
        return result

    def restored(self, latents: Float32Array) -> Float32Array:
        """The inverse of `standardised`."""
        result: Float32Array = latents * self._spread + self._mean
        return result

    def velocity(self, z: Float32Array, log_snr: float) -> Float32Array:
        """v of noised latents: what a sampler calls."""
        level = torch.full((len(z),), log_snr)
        with torch.inference_mode():
            result: Float32Array = self._denoiser(torch.from_numpy(z), level).numpy()
        return result
