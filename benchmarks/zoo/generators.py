"""The generators of the zoo, and which of them a model may know. Fixed before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.zoo.decoders import Upsampling
from benchmarks.zoo.schedules import ScheduleName


@dataclass(frozen=True)
class Original:
    """The crops themselves of one kind of source, as published."""

    synthetic: bool


@dataclass(frozen=True)
class Reconstruction:
    """The latent of each crop through the autoencoder's own decoder."""


@dataclass(frozen=True)
class DecoderOf:
    """The latent of each crop through a decoder that was trained here."""

    upsampling: Upsampling


@dataclass(frozen=True)
class Denoised:
    """The latent of each crop, noised up to a share of the schedule and denoised again; then the autoencoder's decoder.

    Attributes:
        strength: the share of the schedule's timesteps that is run, as in SDEdit (arXiv 2108.01073).
        spacing: of the noise levels: equal steps in time (DDIM), or those of Karras et al. 2022 (Euler).
    """

    schedule: ScheduleName
    spacing: str
    steps: int
    strength: float = 0.4


@dataclass(frozen=True)
class Gan:
    """Faces of a GAN, from noise alone: the one generator that has other content than the rest."""


@dataclass(frozen=True)
class Generator:
    """One class of pictures.

    Attributes:
        name: its folder.
        known: whether a model may be trained on it; the others only measure.
    """

    name: str
    known: bool
    pipeline: Original | Reconstruction | DecoderOf | Denoised | Gan
    description: str


REAL = "real"

GENERATORS = (
    Generator(REAL, True, Original(synthetic=False), "crops of camera pictures"),
    Generator("stable_diffusion_3", True, Original(synthetic=True), "crops of Stable Diffusion 3 portraits"),
    Generator("dcgan_digiface", True, Gan(), "faces of a DCGAN, 64×64 pixels, enlarged"),
    Generator("flux2_tae", True, Reconstruction(), "the tiny FLUX.2 autoencoder's own decoder"),
    Generator("nearest_decoder", True, DecoderOf("nearest"), "nearest-neighbour up-sampling and convolution"),
    Generator("transposed_decoder", True, DecoderOf("transposed"), "transposed convolution"),
    Generator("denoised_linear_ddim", True, Denoised("linear", "ddim", 16), "linear schedule, DDIM, 16 steps"),
    Generator("denoised_cosine_ddim", True, Denoised("cosine", "ddim", 8), "cosine schedule, DDIM, 8 steps"),
    Generator("bilinear_decoder", False, DecoderOf("bilinear"), "bilinear up-sampling and convolution"),
    Generator("subpixel_decoder", False, DecoderOf("subpixel"), "sub-pixel convolution"),
    Generator(
        "denoised_zero_terminal_ddim",
        False,
        Denoised("zero_terminal", "ddim", 16),
        "linear schedule rescaled to zero terminal SNR, DDIM, 16 steps",
    ),
    Generator(
        "denoised_scaled_linear_euler",
        False,
        Denoised("scaled_linear", "karras", 12),
        "scaled-linear schedule, Euler, 12 steps",
    ),
)
