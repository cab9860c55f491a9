"""Noising on the CPU: what does not depend on the image is computed once per bundle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protoleak.arrays import Float32Array
from protoleak.bundle.manifest import Manifest
from protoleak.diffusion import low_frequency, low_frequency_projection


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
    projections: tuple[Float32Array, Float32Array] | None

    @classmethod
    def of(cls, manifest: Manifest, noise_bank: Float32Array) -> Noising:
        """Takes the noise bank float32 [T, C, h, w] that belongs to the manifest."""
        latent_factor, noise_factor = manifest.coefficients()
        noise, projections = noise_bank, None
        if manifest.low_frequency is not None:
            components = manifest.low_frequency.components
            height, width = manifest.latent_shape[1:]
            projections = low_frequency_projection(height, components), low_frequency_projection(width, components)
            noise = np.concatenate([noise, low_frequency(noise, components)], axis=-3)
        return cls(latent_factor, noise * noise_factor[:, None, None, None], projections)

    def __call__(self, z0: Float32Array) -> Float32Array:
        """float32 [N, C, h, w] → float32 [N, T, C', h, w]; the same numbers as `diffusion.noised_latents`.

        Every plane is multiplied by itself, so the result for an image does not depend on the others in the batch.
        """
        if self.projections is not None:
            left, right = self.projections
            z0 = np.concatenate([z0, left @ z0 @ right.T], axis=-3)
        noised: Float32Array = z0[:, None] * self.latent_factor[:, None, None, None] + self.noise_term
        return noised
