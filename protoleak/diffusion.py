"""The forward-diffusion mathematics of the method: schedule, noise bank, low-frequency projection, noising.

NumPy only. This is the one place where these formulas stand; PyTorch code and CUDA kernels are checked against it.

Notation (Proto-LeakNet, arXiv 2511.04260, section 3): for timestep t of a schedule with cumulative product ᾱ_t,
α_t = √ᾱ_t, σ_t = √(1 − ᾱ_t); the noised latent is z_t = α_t·z0 + σ_t·ε, and the network
sees z_t / (σ_t + 1e-12).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from protoleak.arrays import Float32Array, Float64Array

Projections: TypeAlias = tuple[Float32Array, Float32Array]  # P_h [h, h] and P_w [w, w]

SIGMA_EPSILON = 1e-12  # the published code divides by σ_t + 1e-12


@dataclass(frozen=True)
class NoiseSchedule:
    """A linear-beta noise schedule.

    The published code uses betas that are linear from 0.00085 to 0.012 over 1000 steps. Stable Diffusion's own
    configuration is *scaled linear* (linear in √β); that is not what the published checkpoints were trained with.
    """

    beta_start: float = 0.00085
    beta_end: float = 0.012
    steps: int = 1000

    def alphas_sigmas(self, timesteps: tuple[int, ...]) -> tuple[Float64Array, Float64Array]:
        """α_t and σ_t of each timestep: two float64 arrays of shape [T].

        Raises:
            ValueError: a timestep lies outside [0, steps).
        """
        outside = [t for t in timesteps if not 0 <= t < self.steps]
        if outside:
            raise ValueError(f"timesteps {outside} lie outside 0…{self.steps - 1}, the range of the schedule")
        betas = np.linspace(self.beta_start, self.beta_end, self.steps, dtype=np.float64).astype(np.float32)
        # Rounded to float32 where the published code rounds: 1 − ᾱ_t cancels at small t, and exact arithmetic would
        # move z_0 by 1.3e-5 of its magnitude against it, which is more of the spread where images have much in common.
        alpha_bar = np.cumprod(np.float32(1.0) - betas, dtype=np.float64).astype(np.float32)[list(timesteps)]
        return np.sqrt(alpha_bar.astype(np.float64)), np.sqrt((np.float32(1.0) - alpha_bar).astype(np.float64))

    def coefficients(self, timesteps: tuple[int, ...]) -> tuple[Float32Array, Float32Array]:
        """The factors of z0 and of ε in z_t / (σ_t + 1e-12): two float32 arrays of shape [T]."""
        alpha, sigma = self.alphas_sigmas(timesteps)
        scale = 1.0 / (sigma + SIGMA_EPSILON)
        return (alpha * scale).astype(np.float32), (sigma * scale).astype(np.float32)


def noise_bank(seed: int, timesteps: tuple[int, ...], latent_shape: tuple[int, int, int]) -> Float32Array:
    """The frozen Gaussian noise ε of a bundle: float32 [T, C, h, w].

    Each timestep has its own Philox stream, keyed by (seed, timestep), so a timestep's noise does not depend on which
    other timesteps a model uses. The raw 64-bit counter output is mapped to normals by Box-Muller here, because NumPy
    promises stability over versions for the raw stream but not for `standard_normal`.

    Args:
        seed: any integer in [0, 2⁶⁴).
        timesteps: T diffusion timesteps.
        latent_shape: (C, h, w) of one latent.
    """
    count = int(np.prod(latent_shape))
    pairs = (count + 1) // 2
    bank = np.empty((len(timesteps), *latent_shape), dtype=np.float32)
    for index, timestep in enumerate(timesteps):
        raw = np.random.Philox(key=np.array([seed, timestep], dtype=np.uint64)).random_raw(2 * pairs)
        uniform = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
        radius = np.sqrt(-2.0 * np.log1p(-uniform[:pairs]))  # 1 − u lies in (0, 1], so the logarithm is finite
        angle = 2.0 * np.pi * uniform[pairs:]
        normals = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
        bank[index] = normals[:count].reshape(latent_shape)
    return bank


def low_frequency_projection(size: int, components: int) -> Float32Array:
    """The projection P on the `components` lowest orthonormal DCT-II vectors: float32 [size, size].

    The low-frequency part of a latent plane X is P_h X P_wᵀ. P is symmetric and idempotent.

    Raises:
        ValueError: `components` is not in 1…size.
    """
    if not 1 <= components <= size:
        raise ValueError(f"{components} low-frequency components asked of an axis of {size}: give 1…{size}")
    position = np.arange(size, dtype=np.float64) + 0.5
    frequency = np.arange(components, dtype=np.float64)[:, None]
    basis = np.cos(np.pi * frequency * position / size) * np.sqrt(2.0 / size)
    basis[0] /= np.sqrt(2.0)
    projection: Float32Array = (basis.T @ basis).astype(np.float32)
    return projection


def low_frequency_projections(plane: tuple[int, int], components: int | None) -> Projections | None:
    """P_h and P_w for planes of shape (h, w); None for no low-frequency half.

    Raises:
        ValueError: `components` is not in 1…min(h, w).
    """
    if components is None:
        return None
    return low_frequency_projection(plane[0], components), low_frequency_projection(plane[1], components)


def with_low_frequency(planes: Float32Array, projections: Projections | None) -> Float32Array:
    """Appends P_h · X · P_wᵀ of every plane as C more channels: float32 [..., C, h, w] → float32 [..., C', h, w].

    Every plane is multiplied by itself, so the result for an image does not depend on the others in the batch.
    """
    if projections is None:
        return planes
    left, right = projections
    return np.concatenate([planes, left @ planes @ right.T], axis=-3)


def noise_term(noise: Float32Array, noise_factor: Float32Array, projections: Projections | None) -> Float32Array:
    """What `noised` adds, which does not depend on the image: float32 [..., T, C, h, w] → float32 [..., T, C', h, w].

    Args:
        noise: float32 [T, C, h, w], or [N, T, C, h, w] for noise of its own per image.
        noise_factor: float32 [T], from `NoiseSchedule.coefficients`.
        projections: of the low-frequency half, or None.
    """
    return with_low_frequency(noise, projections) * noise_factor[:, None, None, None]


def noised(
    z0: Float32Array, latent_factor: Float32Array, term: Float32Array, projections: Projections | None
) -> Float32Array:
    """All noised latents of a batch at once: z_t = latent_factor[t]·z0 + noise_factor[t]·ε_t.

    With the low-frequency half, its projection is appended as C more channels. The projection is linear, so it is taken
    of z0 and of ε once instead of T times of the sum.

    Args:
        z0: float32 [N, C, h, w].
        latent_factor: float32 [T], from `NoiseSchedule.coefficients`.
        term: from `noise_term`.
        projections: those of the term.

    Returns:
        float32 [N, T, C', h, w].
    """
    return with_low_frequency(z0, projections)[:, None] * latent_factor[:, None, None, None] + term


def noised_latents(
    z0: Float32Array,
    noise: Float32Array,
    latent_factor: Float32Array,
    noise_factor: Float32Array,
    low_frequency_components: int | None,
) -> Float32Array:
    """`noised` with a term that is used once: float32 [N, T, C', h, w].

    Args:
        z0: float32 [N, C, h, w].
        noise: float32 [T, C, h, w], or [N, T, C, h, w] for noise of its own per image.
        latent_factor, noise_factor: float32 [T], from `NoiseSchedule.coefficients`.
        low_frequency_components: k of the projection, or None for no low-frequency half.
    """
    height, width = z0.shape[-2:]
    projections = low_frequency_projections((height, width), low_frequency_components)
    return noised(z0, latent_factor, noise_term(noise, noise_factor, projections), projections)
