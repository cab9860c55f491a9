"""What decides the outcome of training, in one value that is recorded with the model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from protoleak.choices import (
    BACKBONE_KINDS,
    COMPUTES,
    FACE_MARGIN,
    KEEPS,
    LOOKS,
    SOLVERS,
    BackboneKind,
    Compute,
    Keep,
    Look,
    Solver,
    check_choice,
)
from protoleak.errors import ProtoleakError, SettingError

if TYPE_CHECKING:
    from protoleak.images.framing import Framing
    from protoleak.model.attributor import AttributorConfig

# torch 2.14 gives wrong bfloat16 weight gradients (infinite, or garbage) for stride-2 convolutions of 1×1 planes, which
# the deeper backbones have when latents are small.
BFLOAT16_BACKBONES: tuple[BackboneKind, ...] = ("conv",)
DEFAULT_TIMESTEPS = (0, 100, 300, 500, 700)
SMALLEST_IMAGE_SIZE = 64
MOST_TIMES_MORE_VIEWS = 4.0  # of an image of a small class
SCHEDULE_STEPS = 1000  # as `diffusion.NoiseSchedule`, which needs NumPy


class TrainingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of one training run. With the same data, machine and number of threads they give the same weights.

    Attributes:
        backbone: the per-timestep encoder of the network.
        solver: "descent" for gradient descent; "discriminants", for the backbone `second_order` only, for the weights
            that linear discriminant analysis of its statistics gives, in closed form. What is said of descent below has
            no say in it, from `epochs` to `mixed_share`. "both", likewise, for two networks in the place of one, whose
            class scores add up: best where a class has some hundred images.
        prototype_spread: standard deviation of the initial prototypes; 0.01 as published, more for a network that is to
            learn in few steps.
        embedding_size: components of an embedding.
        prototypes_per_generator: points of the embedding space that stand for each generator.
        timesteps: of the diffusion; each image is noised to all of them.
        low_frequency_components: lowest DCT-II vectors per axis whose projection is appended to the network's input, or
            none.
        image_size: side in pixels of what the latent encoder gets.
        looks: how the network looks at each image, see `images.framing`; "image" alone is the published framing.
        face_margin: of the look "face", on every side, as a share of the face's longer side.
        equal_amplitudes: whether the network's input has the same variance at every timestep, α_t z0 + σ_t ε; else it
            is divided by σ_t, as published, which makes z0 at t = 0 drown all that later timesteps show.
        standardise: whether each channel of the latents is brought to mean 0 and variance 1 over the training images.
        real_turns: how often the real class comes in training for each time that another class comes.
        views: latents per training image besides that of the image as it is deployed (see `training.views`).
        balanced_views: whether the images of smaller classes get more views: as many times more as the root of how
            many times smaller than the largest their class is, up to four.
        operator_share: share of the views that are the whole image after a chain of operators, as WILD post-processes
            images; the others are random crops, sizes and compressions.
        validation_views: the views of validation images; none for as many as `views`. They show what training is to
            achieve, and small validation sets tell epochs apart better with them.
        epochs: at most this many; one epoch is as many draws as there are training latents.
        keep: "best" for the weights of the epoch with the best validation result; "last" for those of the last epoch,
            where validation images are too few to tell epochs apart.
        patience: epochs without a better validation result after which training ends.
        batch_size: of images with a class; negatives come on top.
        learning_rate: of AdamW; it falls to 0 over all epochs along a cosine.
        weight_decay: of AdamW.
        timestep_dropout: probability that a timestep of an image is left out of a step.
        entropy_weight: of mean(log T − H(timestep weights)), which keeps the temporal pool from a single timestep.
        label_smoothing: share of the target of each image that is spread over all classes.
        negatives_weight: of the cross entropy to the uniform target, for mixed and for given negatives each.
        mixed_negatives: whether latents of two classes are interpolated and pushed away from every class.
        mixed_share: mixed negatives per image of a batch.
        negatives_share: given negatives per image of a batch; used when there is a folder of them.
        compute: arithmetic of the per-timestep encoder in training; validation is always exact, in float32. "bf16", for
            the backbone `conv` only, is two to three times as fast on processors with bfloat16 instructions and many
            times slower on others; "auto" is "bf16" where it is faster, else "exact".
        seed: of initial weights, views, order, dropout and training noise.
        noise_seed: of the frozen noise bank that the model is validated and deployed with.
    """

    backbone: BackboneKind = "conv"
    solver: Solver = "descent"
    prototype_spread: float = 0.01
    embedding_size: int = 128
    prototypes_per_generator: int = 6
    timesteps: tuple[int, ...] = DEFAULT_TIMESTEPS
    low_frequency_components: int | None = 8
    image_size: int = 256
    looks: tuple[Look, ...] = ("image",)
    face_margin: float = FACE_MARGIN
    equal_amplitudes: bool = False
    standardise: bool = False
    real_turns: int = 1
    views: int = 3
    balanced_views: bool = False
    operator_share: float = 0.5
    validation_views: int | None = None
    epochs: int = 40
    keep: Keep = "best"
    patience: int = 10
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    timestep_dropout: float = 0.1
    entropy_weight: float = 0.01
    label_smoothing: float = 0.0
    negatives_weight: float = 0.3
    mixed_negatives: bool = True
    mixed_share: float = 0.25
    negatives_share: float = 0.25
    compute: Compute = "auto"
    seed: int = 0
    noise_seed: int = 0

    @property
    def bfloat16(self) -> bool:
        """Whether this machine is to train with bfloat16."""
        return self.compute == "bf16" or (
            self.compute == "auto" and self.backbone in BFLOAT16_BACKBONES and has_bfloat16()
        )

    def __post_init__(self) -> None:
        check_choice("backbone", self.backbone, BACKBONE_KINDS)
        check_choice("compute", self.compute, COMPUTES)
        check_choice("keep", self.keep, KEEPS)
        check_choice("solver", self.solver, SOLVERS)
        if self.solver != "descent" and self.backbone != "second_order":
            raise ProtoleakError(
                f"solver {self.solver} serves the backbone second_order only, not {self.backbone}: give descent"
            )
        if self.compute == "bf16" and self.backbone not in BFLOAT16_BACKBONES:
            raise ProtoleakError(
                f"compute bf16 serves the backbone {BFLOAT16_BACKBONES[0]} only, not {self.backbone}: "
                "give exact or auto"
            )
        for name in ("embedding_size", "prototypes_per_generator", "epochs", "patience"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "give 1 or more")
        _require(self.views >= 0, "views", self.views, "give 0 or more, besides the image itself")
        _require(0 <= self.operator_share <= 1, "operator_share", self.operator_share, "give a share from 0 to 1")
        if self.validation_views is not None:
            _require(self.validation_views >= 0, "validation_views", self.validation_views, "give 0 or more")
        _require(self.batch_size >= 2, "batch_size", self.batch_size, "give 2 or more, for batch normalisation")
        rate = self.learning_rate
        _require(0 < rate < math.inf, "learning_rate", rate, "give a number above 0, such as 0.001")
        _require(self.prototype_spread > 0, "prototype_spread", self.prototype_spread, "give a number above 0")
        for name in ("weight_decay", "entropy_weight", "negatives_weight"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "give 0 or more")
        for name in ("mixed_share", "negatives_share"):
            _require(0 < getattr(self, name) <= 1, name, getattr(self, name), "give a share above 0, up to 1")
        _require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "give 0 up to below 1")
        _require(0 <= self.timestep_dropout < 1, "timestep_dropout", self.timestep_dropout, "give 0 up to below 1")
        for name in ("seed", "noise_seed"):
            _require(0 <= getattr(self, name) < 2**63, name, getattr(self, name), "give 0 up to 2⁶³ − 1")
        if self.image_size < SMALLEST_IMAGE_SIZE or self.image_size % 8:
            remedy = f"give a multiple of 8 from {SMALLEST_IMAGE_SIZE} on, such as 256"
            raise SettingError("image_size", f"is {self.image_size}: {remedy}")
        _require(len(self.looks) > 0, "looks", len(self.looks), f"give some of {', '.join(LOOKS)}")
        for look in self.looks:
            check_choice("looks", look, LOOKS)
        if len(set(self.looks)) != len(self.looks):
            raise ProtoleakError(f"looks {', '.join(self.looks)} name one twice: give each once")
        _require(0 <= self.face_margin <= 4, "face_margin", self.face_margin, "give a share from 0 to 4")
        _require(self.real_turns >= 1, "real_turns", self.real_turns, "give 1 or more")
        self._check_timesteps()

    def _check_timesteps(self) -> None:
        if not self.timesteps:
            raise ProtoleakError("no timesteps: give at least one, such as 0,100,300,500,700")
        if len(set(self.timesteps)) != len(self.timesteps):
            raise ProtoleakError(f"timesteps {self.timesteps} name one twice: give each once")
        outside = [t for t in self.timesteps if not 0 <= t < SCHEDULE_STEPS]
        if outside:
            raise ProtoleakError(
                f"timesteps {outside} lie outside the schedule: give numbers from 0 to {SCHEDULE_STEPS - 1}"
            )
        components = self.low_frequency_components
        if components is not None and components < 1:
            raise ProtoleakError(f"low_frequency_components is {components}: give 1 or more, or none to leave them out")

    def views_of(self, images: int, largest: int) -> int:
        """Views of each training image of a class with so many, where the largest has `largest`."""
        if not self.balanced_views:
            return self.views
        return round(self.views * min(MOST_TIMES_MORE_VIEWS, math.sqrt(largest / images)))

    @property
    def framing(self) -> Framing:
        from protoleak.images.framing import Framing

        return Framing(self.looks, self.image_size, self.face_margin)

    @property
    def amplitudes(self) -> list[float] | None:
        """Factor on the network's input at each timestep: σ_t where all are to have the same variance, else None."""
        if not self.equal_amplitudes:
            return None
        from protoleak.diffusion import SIGMA_EPSILON, NoiseSchedule

        _, sigma = NoiseSchedule().alphas_sigmas(self.timesteps)
        return [float(each) for each in sigma + SIGMA_EPSILON]

    def network(self, latent_shape: tuple[int, int, int], generators: int) -> AttributorConfig:
        """The network for latents of shape (C, h, w) and so many classes."""
        from protoleak.model.attributor import AttributorConfig

        return AttributorConfig(
            backbone=self.backbone,
            in_channels=latent_shape[0] * (1 if self.low_frequency_components is None else 2),
            embedding_size=self.embedding_size,
            generators=generators,
            prototypes_per_generator=self.prototypes_per_generator,
            timesteps=len(self.looks) * len(self.timesteps),
        )

    def check_latent(self, latent_shape: tuple[int, int, int]) -> None:
        """Raises ProtoleakError where these settings do not fit latents of shape (C, h, w)."""
        components, side = self.low_frequency_components, min(latent_shape[1:])
        if components is not None and components > side:
            raise ProtoleakError(
                f"low_frequency_components is {components}, but the latents are {latent_shape[1]}×{latent_shape[2]}: "
                f"give at most {side}, or none to leave them out"
            )


def has_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16, without which it is slower than float32."""
    import torch

    # Older versions of torch do not know; float32 is right everywhere.
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _require(holds: bool, name: str, value: float, remedy: str) -> None:
    if not holds:
        raise SettingError(name, f"is {value}: {remedy}")
