"""Deterministic sampling from partly noised latents.

In the coordinates x = z/α, with noise level s = σ/α, the probability-flow equation is dx/ds = ε(x, s). A step of
Euler's method in these coordinates *is* a step of DDIM with η = 0 (Song et al. 2021, section 4.3), so samplers differ
here by the levels that they visit.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from protoleak.arrays import Float32Array, Float64Array
from zoo.schedules import ScheduleName, noise_levels

# z_t [n, C, h, w] and log SNR → v = α·ε − σ·z0 (Salimans & Ho 2022), of the same shape.
Denoise = Callable[[Float32Array, float], Float32Array]

KARRAS_RHO = 7.0


def ddim_levels(schedule: ScheduleName, strength: float, steps: int) -> Float64Array:
    """Levels at equally spaced timesteps, from `strength` of the schedule to its first, then 0: [steps + 1]."""
    levels = noise_levels(schedule)
    timesteps = np.linspace(_start(levels, strength), 0, steps).round().astype(int)
    return np.append(levels[timesteps], 0.0)


def karras_levels(schedule: ScheduleName, strength: float, steps: int) -> Float64Array:
    """Levels between the same ends, equally spaced in s^(1/7), then 0 (Karras et al. 2022, equation 5): [steps + 1]."""
    levels = noise_levels(schedule)
    ends = levels[[_start(levels, strength), 0]] ** (1 / KARRAS_RHO)
    return np.append(np.linspace(ends[0], ends[1], steps) ** KARRAS_RHO, 0.0)


def sample(denoise: Denoise, latents: Float32Array, noise: Float32Array, levels: Float64Array) -> Float32Array:
    """Noises latents to the first level and follows the flow down to the last.

    Args:
        latents, noise: float32 [n, C, h, w]; latents in units of their spread.
        levels: float64, falling, finite.
    """
    x = latents + np.float32(levels[0]) * noise
    for level, following in pairwise(levels):
        alpha = np.float32(1.0 / np.hypot(1.0, level))
        sigma = np.float32(level) * alpha
        z = alpha * x
        epsilon = sigma * z + alpha * denoise(z, float(-2.0 * np.log(level)))
        x = x + np.float32(following - level) * epsilon
    result: Float32Array = x
    return result


def _start(levels: Float64Array, strength: float) -> int:
    """The timestep that a share of the schedule ends at."""
    timestep = round(strength * len(levels)) - 1
    if not 0 < timestep < len(levels) or not np.isfinite(levels[timestep]):
        raise ValueError(f"strength {strength:g} starts where no signal or no noise is: give one between 0 and 1")
    return timestep
