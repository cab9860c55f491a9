"""Noising of latents in PyTorch, for training; `protoleak.diffusion` is what it must agree with."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from protoleak.diffusion import NoiseSchedule, low_frequency_projections, noise_bank
from protoleak.training.settings import TrainingSettings


@dataclass(frozen=True)
class Noising:
    """z0 → z_t of all timesteps, as `protoleak.diffusion.noised_latents`.

    Attributes:
        latent_factor, noise_factor: float32 [T, 1, 1, 1].
        bank: float32 [T, C, h, w], the frozen noise.
        projections: P_h [h, h] and P_w [w, w] of the low-frequency half, or None without it.
    """

    latent_factor: torch.Tensor
    noise_factor: torch.Tensor
    bank: torch.Tensor
    projections: tuple[torch.Tensor, torch.Tensor] | None

    @classmethod
    def build(
        cls,
        timesteps: tuple[int, ...],
        latent_shape: tuple[int, int, int],
        noise_seed: int,
        low_frequency_components: int | None,
        schedule: NoiseSchedule | None = None,
    ) -> Noising:
        """From the settings of a model; latent_shape is (C, h, w)."""
        latent_factor, noise_factor = (schedule or NoiseSchedule()).coefficients(timesteps)
        planes = low_frequency_projections(latent_shape[1:], low_frequency_components)
        projections = None if planes is None else (torch.from_numpy(planes[0]), torch.from_numpy(planes[1]))
        bank = torch.from_numpy(noise_bank(noise_seed, timesteps, latent_shape))
        return cls(
            torch.from_numpy(latent_factor).reshape(-1, 1, 1, 1),
            torch.from_numpy(noise_factor).reshape(-1, 1, 1, 1),
            bank,
            projections,
        )

    @classmethod
    def of(cls, settings: TrainingSettings, latent_shape: tuple[int, int, int]) -> Noising:
        """That of a training; latent_shape is (C, h, w)."""
        return cls.build(settings.timesteps, latent_shape, settings.noise_seed, settings.low_frequency_components)

    def with_bank(self, z0: torch.Tensor) -> torch.Tensor:
        """z_t with the frozen noise: float32 [N, C, h, w] → [N, T, C', h, w]."""
        z_t = torch.addcmul(z0[:, None] * self.latent_factor, self.bank, self.noise_factor)
        return self._with_low_frequency(z_t)

    def with_fresh_noise(
        self, z0: torch.Tensor, wanted: torch.Tensor, dtype: torch.dtype = torch.float32
    ) -> torch.Tensor:
        """z_t with noise of its own for each image and timestep, drawn from torch's global generator.

        Args:
            z0: float32 [N, C, h, w].
            wanted: bool [N, T]; the others cost nothing.
            dtype: of the result; the noise is drawn and added in float32.

        Returns:
            [wanted, C', h, w], image by image and timestep by timestep.
        """
        image, timestep = torch.nonzero(wanted, as_tuple=True)
        z_t = torch.randn(len(image), *z0.shape[1:])
        z_t.mul_(self.noise_factor[timestep]).addcmul_(z0[image], self.latent_factor[timestep])
        return self._with_low_frequency(z_t.to(dtype))

    def _with_low_frequency(self, z_t: torch.Tensor) -> torch.Tensor:
        """Appends P_h X P_wᵀ of every plane on the channel axis: […, C, h, w] → […, C', h, w].

        The projection is linear: one of the sum costs what one of the noise alone would, and the latent's comes free.
        """
        if self.projections is None:
            return z_t
        left, right = (projection.to(z_t.dtype) for projection in self.projections)
        return torch.cat([z_t, left @ (z_t @ right.T)], dim=-3)
