"""What the training loop draws from: latents that get fresh noise each time, or statistics computed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch

from protoleak.model.attributor import Attributor
from protoleak.model.second_order import SecondOrderEncoder
from protoleak.training.noising import Noising
from protoleak.training.settings import TrainingSettings
from protoleak.training.statistics import DISCRIMINANTS_RIDGE, RIDGE, Whitening, draw_shares, statistics_of

EVALUATION_BATCH = 64
STANDARDISED_ON = 1024  # latents: their channels' mean and spread are known to a thousandth then


@dataclass(frozen=True)
class Latents:
    """Latents in memory.

    Attributes:
        z0: float32 or float16 [n, L, C, h, w], as the latent encoder gives it.
        labels: int64 [n], index of the generator.
        sources: int64 [n], index of the collection within the generator; None for one collection each.
    """

    z0: torch.Tensor
    labels: torch.Tensor
    sources: torch.Tensor | None = None


@dataclass(frozen=True)
class Standardisation:
    """What brings each channel of the latents to mean 0 and variance 1: float32 [C, 1, 1] both."""

    mean: torch.Tensor
    spread: torch.Tensor

    @classmethod
    def of(cls, z0: torch.Tensor) -> Standardisation:
        """Over latents [n, L, C, h, w], of which at most STANDARDISED_ON, spread evenly, are read."""
        part = z0[:: max(1, len(z0) // STANDARDISED_ON)].float()
        over = (0, 1, 3, 4)
        return cls(part.mean(dim=over).reshape(-1, 1, 1), part.std(dim=over).clamp_min(1e-6).reshape(-1, 1, 1))

    @classmethod
    def none(cls) -> Standardisation:
        """Leaves latents as they are."""
        return cls(torch.zeros(1, 1, 1), torch.ones(1, 1, 1))

    def __call__(self, z0: torch.Tensor) -> torch.Tensor:
        """float32 of the same shape."""
        return (z0.float() - self.mean) / self.spread


class Inputs(Protocol):
    """What the loop trains and validates on. "Images" are whatever the inputs mix and embed: a row for each."""

    @property
    def negatives(self) -> torch.Tensor:
        """Images of no class that were given: [m, …]; m may be 0."""

    def drawn(self, part: torch.Tensor) -> torch.Tensor:
        """Training images by their indices, int64 [b]: float32 [b, …]."""

    def given(self, chosen: torch.Tensor) -> torch.Tensor:
        """Images of no class by their indices, int64 [b]: float32 [b, …]."""

    def embedded(
        self, network: Attributor, images: torch.Tensor, dropped: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings and gates of images, as `Attributor.embed_timesteps`; what it gives for dropped positions is 0.

        Args:
            images: float32 [N, …].
            dropped: bool [N, P].
        """

    def validation_scores(self, network: Attributor) -> torch.Tensor:
        """Class scores of all validation images with the frozen noise bank: float32 [v, K]."""

    def finish(self, network: Attributor) -> None:
        """Has the trained network, in place, take what a deployed one gets."""


@dataclass(frozen=True)
class LatentInputs:
    """Latents, to which fresh noise is added each time that they are drawn: for backbones that see latents."""

    noising: Noising
    standardisation: Standardisation
    train: torch.Tensor
    validation: torch.Tensor
    negatives: torch.Tensor
    bfloat16: bool

    def drawn(self, part: torch.Tensor) -> torch.Tensor:
        return self.standardisation(self.train[part])

    def given(self, chosen: torch.Tensor) -> torch.Tensor:
        return self.standardisation(self.negatives[chosen])

    def embedded(
        self, network: Attributor, images: torch.Tensor, dropped: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        kept = self.noising.with_fresh_noise(images, ~dropped, torch.bfloat16 if self.bfloat16 else torch.float32)
        return embed_kept(network, kept, dropped)

    def validation_scores(self, network: Attributor) -> torch.Tensor:
        parts = torch.split(self.validation, EVALUATION_BATCH)
        return torch.cat([network(self.noising.with_bank(self.standardisation(part))).class_score for part in parts])

    def finish(self, network: Attributor) -> None:
        """Nothing is left to be done."""


@dataclass(frozen=True)
class StatisticsInputs:
    """Whitened second-order statistics of latents with the frozen noise, computed once: for `second_order`.

    Attributes:
        train, validation, negatives: float32 [n, P, F].
    """

    whitening: Whitening
    train: torch.Tensor
    validation: torch.Tensor
    negatives: torch.Tensor

    def drawn(self, part: torch.Tensor) -> torch.Tensor:
        return self.train[part]

    def given(self, chosen: torch.Tensor) -> torch.Tensor:
        return self.negatives[chosen]

    def embedded(
        self, network: Attributor, images: torch.Tensor, dropped: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        encoder = network.backbone.encoder
        assert isinstance(encoder, SecondOrderEncoder)
        return _placed(network, encoder.embed_whitened(images, ~dropped), dropped)

    def validation_scores(self, network: Attributor) -> torch.Tensor:
        return self.scores(network, self.validation)

    def scores(self, network: Attributor, whitened: torch.Tensor) -> torch.Tensor:
        """Class scores of whitened statistics: float32 [n, P, F] → [n, K]."""
        scores = []
        for part in torch.split(whitened, EVALUATION_BATCH):
            nothing = torch.zeros(part.shape[:2], dtype=torch.bool)
            embedding, gate, _ = network.pool(*self.embedded(network, part, nothing))
            scores.append(network.class_score(network.prototype_distance(embedding, gate)))
        return torch.cat(scores)

    def finish(self, network: Attributor) -> None:
        """The whitening goes into the encoder's first layer."""
        encoder = network.backbone.encoder
        assert isinstance(encoder, SecondOrderEncoder)
        self.whitening.fold_into(encoder)


def inputs_of(
    settings: TrainingSettings,
    noising: Noising,
    standardisation: Standardisation,
    train: Latents,
    validation: Latents,
    negatives: torch.Tensor | None,
    turns_of: Mapping[int, int],
) -> Inputs:
    """What a network of these settings is trained on.

    Args:
        negatives: [m, L, C, h, w], latents of images of no class, or None.
        turns_of: label → turns in each round, as `balanced_order` takes it.
    """
    given = train.z0[:0] if negatives is None else negatives
    if settings.backbone != "second_order":
        return LatentInputs(noising, standardisation, train.z0, validation.z0, given, settings.bfloat16)
    of_train = statistics_of(train.z0, noising, standardisation)
    shares = draw_shares(train.labels, train.sources, turns_of)
    ridge = DISCRIMINANTS_RIDGE if settings.solver == "discriminants" else RIDGE
    whitening = Whitening.of(of_train, train.labels, shares, ridge)
    return StatisticsInputs(
        whitening,
        whitening(of_train),
        whitening(statistics_of(validation.z0, noising, standardisation)),
        whitening(statistics_of(given, noising, standardisation)) if len(given) else of_train[:0],
    )


def embed_kept(network: Attributor, kept: torch.Tensor, dropped: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As `Attributor.embed_timesteps`, of the timesteps that are not dropped: what it gives for the others is 0.

    Args:
        kept: float32 or bfloat16 [kept, C', h, w], the type that the encoder is to compute in.
        dropped: bool [N, T].
    """
    bfloat16 = kept.dtype == torch.bfloat16
    if bfloat16:  # its convolutions are fast in this layout only
        kept = kept.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        embedded = network.embed(kept, torch.nonzero(~dropped)[:, 1]).float()
    return _placed(network, embedded, dropped)


def _placed(network: Attributor, embedded: torch.Tensor, dropped: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings [kept, D] in their places, [N, P, D], and their gates."""
    h = embedded.new_zeros(*dropped.shape, embedded.shape[1])
    h[~dropped] = embedded
    return h, network.backbone.att.gate(h) if network.config.gate else torch.ones_like(h)
