"""Everything about a model but its weights: what `model.json` records, and what follows from it by arithmetic."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from protoleak.arrays import Float32Array
from protoleak.bundle.manifest import Schedule
from protoleak.choices import FACE_MARGIN, Look, Upright
from protoleak.diffusion import NoiseSchedule, noise_bank, noised_latents
from protoleak.images.framing import Framing
from protoleak.model.attributor import AttributorConfig


class LatentEncoderRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which latent encoder the model belongs to."""

    kind: str
    fingerprint: str


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything about a model but its weights.

    Attributes:
        generators: K names, in the order of the network's classes; the real class is one of them.
        real_class: the class of camera originals, or None.
        image_size: S, side of the square RGB images that the latent encoder sees.
        timesteps: T different ones, in the order of the network's input.
        noise_seed: of the frozen noise bank.
        low_frequency_components: k of the low-frequency half of the input, or None without that half.
        latent_shape: (C, h, w) of z0.
        looks, face_margin: how an image is framed, see `images.framing.Framing`; the network's attention runs over
            looks × timesteps.
        upright: "never" where the training saw images as they lie in their files, without their EXIF orientation.
        amplitudes: factor on the network's input at each timestep; None for 1, as published.
        latent_mean, latent_spread: of each channel of the latent encoder's output over the training images, by which z0
            is standardised; None for z0 as the encoder gives it, as published.
        provenance: how the model came to be; free form.
    """

    generators: list[str]
    image_size: int
    timesteps: list[int]
    latent_shape: tuple[int, int, int]
    attributor: AttributorConfig
    latent_encoder: LatentEncoderRecord
    real_class: str | None = None
    schedule: Schedule = Schedule()
    noise_seed: int = 0
    low_frequency_components: int | None = None
    looks: tuple[Look, ...] = ("image",)
    face_margin: float = FACE_MARGIN
    amplitudes: list[float] | None = None
    upright: Upright = "auto"
    latent_mean: list[float] | None = None
    latent_spread: list[float] | None = None
    provenance: dict[str, Any] = {}

    def __post_init__(self) -> None:
        names, network, components = self.generators, self.attributor, self.low_frequency_components
        channels = self.latent_shape[0] * (1 if components is None else 2)
        rules = [
            (
                len(names) == network.generators,
                f"{len(names)} generators {names}, the network has {network.generators}",
            ),
            (len(set(names)) == len(names) and all(names), f"generators {names}: names must differ and not be empty"),
            (self.real_class is None or self.real_class in names, f"real class {self.real_class!r}, not in {names}"),
            (
                len(self.looks) * len(self.timesteps) == network.timesteps,
                f"looks {list(self.looks)} × timesteps {self.timesteps}, the network has {network.timesteps} inputs",
            ),
            (0 < len(self.looks) == len(set(self.looks)), f"looks {list(self.looks)}: at least one, each once"),
            (
                self.amplitudes is None
                or len(self.amplitudes) == len(self.timesteps) == sum(one > 0 for one in self.amplitudes),
                f"amplitudes {self.amplitudes} for timesteps {self.timesteps}",
            ),
            (
                (self.latent_mean, self.latent_spread) == (None, None)
                or (
                    self.latent_mean is not None
                    and self.latent_spread is not None
                    and len(self.latent_mean) == len(self.latent_spread) == self.latent_shape[0]
                    and all(one > 0 for one in self.latent_spread)
                ),
                f"latent mean and spread do not fit {self.latent_shape[0]} channels",
            ),
            (len(set(self.timesteps)) == len(self.timesteps), f"timesteps {self.timesteps}: one occurs twice"),
            (
                all(0 <= timestep < self.schedule.steps for timestep in self.timesteps),
                f"timesteps {self.timesteps}: they lie outside 0…{self.schedule.steps - 1}, the range of the schedule",
            ),
            (0 <= self.noise_seed < 2**64, f"noise seed {self.noise_seed}: it must lie in 0…2⁶⁴−1"),
            (self.schedule.kind == "linear", f"schedule {self.schedule.kind!r}: only 'linear' is known"),
            (
                components is None or 1 <= components <= min(self.latent_shape[1:]),
                f"{components} low-frequency components for latents of {self.latent_shape}",
            ),
            (
                channels == network.in_channels,
                f"latents of {self.latent_shape} make {channels} input channels, the network has {network.in_channels}",
            ),
        ]
        broken = [text for holds, text in rules if not holds]
        if broken:
            raise ValueError("; ".join(broken))

    @property
    def noise_schedule(self) -> NoiseSchedule:
        return NoiseSchedule(self.schedule.beta_start, self.schedule.beta_end, self.schedule.steps)

    def coefficients(self) -> tuple[Float32Array, Float32Array]:
        """The factors of z0 and of ε, each float32 [T]."""
        return self.noise_schedule.coefficients(tuple(self.timesteps), self.amplitudes)

    @property
    def framing(self) -> Framing:
        return Framing(self.looks, self.image_size, self.face_margin, self.upright == "auto")

    def standardised(self, latents: Float32Array) -> Float32Array:
        """z0 from what the latent encoder gives: float32 […, C, h, w] → the same shape."""
        if self.latent_mean is None or self.latent_spread is None:
            return latents
        mean, spread = (np.array(each, np.float32)[:, None, None] for each in (self.latent_mean, self.latent_spread))
        z0: Float32Array = (latents - mean) / spread
        return z0

    def noise_bank(self) -> Float32Array:
        """The frozen ε: float32 [T, C, h, w]."""
        return noise_bank(self.noise_seed, tuple(self.timesteps), self.latent_shape)

    def noised(self, z0: Float32Array, noise: Float32Array | None = None) -> Float32Array:
        """z0 float32 [N·L, C, h, w], the looks at each face behind one another → network input float32
        [N, L·T, C', h, w].

        Args:
            noise: float32 [T, C, h, w] or [N·L, T, C, h, w]; None for the frozen noise bank.
        """
        bank = self.noise_bank() if noise is None else noise
        z_t = noised_latents(z0, bank, *self.coefficients(), self.low_frequency_components)
        return z_t.reshape(-1, len(self.looks) * len(self.timesteps), *z_t.shape[2:])
