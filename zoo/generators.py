"""The generators of the zoo, and which of them a model may know. Fixed before anything is trained.

The denoised ones start at noise levels σ/α of 0.73 (cosine), 1.3 (linear), 2.3 (scaled-linear) and 3.8 (zero terminal):
wide enough apart that no two are one pipeline under two names. With one share of the schedule for all, 40 %, linear and
zero terminal started at nearly one level. `separability.py` measures how well a pair can be told apart at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo.decoders import Upsampling
from zoo.schedules import ScheduleName


@dataclass(frozen=True)
class Original:
    """The crops themselves of one kind of source, as published."""

    synthetic: bool


@dataclass(frozen=True)
class Reconstruction:
    """The latent of each crop through the autoencoder's own decoder."""


@dataclass(frozen=True)
class DecoderOf:
    """The latent of each crop through a decoder that was trained here.

    Attributes:
        sibling: 0 for the decoder itself; others are other trainings that started from its weights.
    """

    upsampling: Upsampling
    sibling: int = 0


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
    strength: float


@dataclass(frozen=True)
class Gan:
    """Faces of a GAN, from noise alone: the one generator that has other content than the rest."""


@dataclass(frozen=True)
class Generator:
    """One class of images.

    Attributes:
        name: its folder.
        part: the folder above it. Models learn and name the "known"; "unknown" ones only measure; those of
            "auxiliary" may be trained on, to be told apart, but are never named.
    """

    name: str
    part: Part
    pipeline: Original | Reconstruction | DecoderOf | Denoised | Gan
    description: str


Part = Literal["known", "unknown", "auxiliary"]
PARTS: tuple[Part, ...] = ("known", "unknown", "auxiliary")
REAL = "real"
SIBLINGS_OF: tuple[Upsampling, ...] = ("nearest", "transposed")

GENERATORS = (
    Generator(REAL, "known", Original(synthetic=False), "crops of camera images"),
    Generator("stable_diffusion_3", "known", Original(synthetic=True), "crops of Stable Diffusion 3 portraits"),
    Generator("dcgan_digiface", "known", Gan(), "faces of a DCGAN, 64×64 pixels, enlarged"),
    Generator("flux2_tae", "known", Reconstruction(), "the tiny FLUX.2 autoencoder's own decoder"),
    Generator("nearest_decoder", "known", DecoderOf("nearest"), "nearest-neighbour up-sampling and convolution"),
    Generator("transposed_decoder", "known", DecoderOf("transposed"), "transposed convolution"),
    Generator("denoised_linear_ddim", "known", Denoised("linear", "ddim", 16, 0.35), "linear schedule, DDIM, 16 steps"),
    Generator("denoised_cosine_ddim", "known", Denoised("cosine", "ddim", 8, 0.4), "cosine schedule, DDIM, 8 steps"),
    Generator("bilinear_decoder", "unknown", DecoderOf("bilinear"), "bilinear up-sampling and convolution"),
    Generator("subpixel_decoder", "unknown", DecoderOf("subpixel"), "sub-pixel convolution"),
    Generator(
        "denoised_zero_terminal_ddim",
        "unknown",
        Denoised("zero_terminal", "ddim", 16, 0.6),
        "linear schedule rescaled to zero terminal SNR, DDIM, 16 steps",
    ),
    Generator(
        "denoised_scaled_linear_euler",
        "unknown",
        Denoised("scaled_linear", "karras", 12, 0.6),
        "scaled-linear schedule, Euler, 12 steps",
    ),
    # Siblings of the known ones, so that a network can learn to tell *this* decoder from the next one of its kind.
    *(
        Generator(f"{kind}_sibling_{number}", "auxiliary", DecoderOf(kind, number), f"another training of {kind}")
        for kind in SIBLINGS_OF
        for number in (1, 2, 3)
    ),
    Generator("linear_sibling_1", "auxiliary", Denoised("linear", "ddim", 6, 0.35), "linear schedule, 6 steps"),
    Generator("linear_sibling_2", "auxiliary", Denoised("linear", "ddim", 16, 0.5), "linear schedule, from more noise"),
    Generator("cosine_sibling_1", "auxiliary", Denoised("cosine", "ddim", 20, 0.4), "cosine schedule, 20 steps"),
    Generator("cosine_sibling_2", "auxiliary", Denoised("cosine", "ddim", 8, 0.55), "cosine schedule, from more noise"),
)


def families() -> dict[str, tuple[str, ...]]:
    """The names of known generators that have siblings, each with its siblings' names."""
    found: dict[str, tuple[str, ...]] = {}
    for one in GENERATORS:
        kind = _kind(one)
        siblings = tuple(other.name for other in GENERATORS if other.part == "auxiliary" and _kind(other) == kind)
        if one.part == "known" and kind is not None and siblings:
            found[one.name] = siblings
    return found


def _kind(generator: Generator) -> str | None:
    """What siblings have in common; None for generators that can have none."""
    pipeline = generator.pipeline
    if isinstance(pipeline, DecoderOf):
        return pipeline.upsampling
    return pipeline.schedule if isinstance(pipeline, Denoised) else None
