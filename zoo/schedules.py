"""Noise schedules that differ in how fast signal gives way to noise: the source of the leaks that the method reads."""

from __future__ import annotations

from typing import Literal

import numpy as np

from protoleak.arrays import Float64Array
from protoleak.diffusion import NoiseSchedule

STEPS = 1000
ScheduleName = Literal["linear", "scaled_linear", "cosine", "zero_terminal"]


def alpha_bar(schedule: ScheduleName) -> Float64Array:
    """ᾱ_t of every timestep, falling: float64 [1000]."""
    if schedule == "linear":
        return _linear()
    if schedule == "scaled_linear":
        return _scaled_linear()
    if schedule == "cosine":
        return _cosine()
    return _zero_terminal(_linear())


def noise_levels(schedule: ScheduleName) -> Float64Array:
    """σ_t/α_t of every timestep, rising: float64 [1000]. Infinite where nothing of the signal is left."""
    signal = alpha_bar(schedule)
    with np.errstate(divide="ignore"):
        levels: Float64Array = np.sqrt((1.0 - signal) / signal)
    return levels


def _linear() -> Float64Array:
    """protoleak's own schedule: β linear from 0.00085 to 0.012."""
    alpha, _ = NoiseSchedule(steps=STEPS).alphas_sigmas(tuple(range(STEPS)))
    return alpha**2


def _scaled_linear() -> Float64Array:
    """Stable Diffusion's own: √β linear over the same range (Rombach et al. 2022)."""
    reference = NoiseSchedule()
    roots: Float64Array = np.linspace(reference.beta_start**0.5, reference.beta_end**0.5, STEPS)
    signal: Float64Array = np.cumprod(1.0 - roots**2, dtype=np.float64)
    return signal


def _cosine(offset: float = 0.008, largest_beta: float = 0.999) -> Float64Array:
    """Nichol & Dhariwal 2021, equation 17, with their cap on β."""
    time = np.arange(STEPS + 1) / STEPS
    signal = np.cos((time + offset) / (1 + offset) * np.pi / 2) ** 2
    betas = np.minimum(1.0 - signal[1:] / signal[:-1], largest_beta)
    return np.cumprod(1.0 - betas)


def _zero_terminal(signal: Float64Array) -> Float64Array:
    """√ᾱ shifted and scaled so that the last is zero and the first stays (Lin et al. 2024, algorithm 1)."""
    root = np.sqrt(signal)
    rescaled: Float64Array = (root - root[-1]) * root[0] / (root[0] - root[-1])
    return rescaled**2
