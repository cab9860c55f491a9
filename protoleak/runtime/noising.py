"""Noising on the CPU: what does not depend on the image is computed once per bundle."""

from __future__ import annotations

from dataclasses import dataclass

from protoleak.arrays import Float32Array
from protoleak.bundle.manifest import Manifest
from protoleak.diffusion import Projections, low_frequency_projections, noise_term, noised


@dataclass(frozen=True)
class Noising:
    """z0 → z_t of every timestep, with one bundle's frozen noise.

    Attributes:
        latent_factor: float32 [T], the factor of z0.
        noise_term: float32 [T, C', h, w]: the noise, its low-frequency half behind it, times its factor.
        projections: P_h and P_w of the low-frequency half, float32 [h, h] and [w, w]; None without it.
    """

    latent_factor: Float32Array
    noise_term: Float32Array
    projections: Projections | None

    @classmethod
    def build(cls, noise: Float32Array, factors: tuple[Float32Array, Float32Array], components: int | None) -> Noising:
        """From noise float32 [T, C, h, w] and what `NoiseSchedule.coefficients` gives for its timesteps."""
        latent_factor, noise_factor = factors
        height, width = noise.shape[-2:]
        projections = low_frequency_projections((height, width), components)
        return cls(latent_factor, noise_term(noise, noise_factor, projections), projections)

    @classmethod
    def of(cls, manifest: Manifest, noise_bank: Float32Array) -> Noising:
        """Takes the noise bank float32 [T, C, h, w] that belongs to the manifest."""
        components = None if manifest.low_frequency is None else manifest.low_frequency.components
        return cls.build(noise_bank, manifest.noise_schedule.coefficients(tuple(manifest.timesteps)), components)

    def __call__(self, z0: Float32Array) -> Float32Array:
        """float32 [N, C, h, w] → float32 [N, T, C', h, w]; the result for an image does not depend on its batch."""
        return noised(z0, self.latent_factor, self.noise_term, self.projections)
