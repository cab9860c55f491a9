"""The attribution network: noised latents of T timesteps → embedding, gate, prototype distances, class scores.

Proto-LeakNet (arXiv 2511.04260) as its published code computes it. Parameter names are those of the published
checkpoints (`backbone.*`, `proto_head.protos`, `lse_agg.log_tau`), with the temporal pool, which those never contained,
added as `temporal_pool.query.*`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec
import torch
from torch import nn

from protoleak.choices import BACKBONE_KINDS, BackboneKind
from protoleak.model.backbones import VIT_IMAGE_SIZE, VIT_PATCH, build_backbone
from protoleak.model.second_order import HIDDEN, SecondOrderEncoder

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.5, 5.0  # the published clamp of τ
PROTOTYPE_SPREAD = 0.01  # standard deviation of the initial prototypes, as published


class AttributorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Shape of an attribution network.

    Attributes:
        backbone: one of BACKBONE_KINDS.
        in_channels: C' of the noised latent: the latent's channels, or twice as many with the low-frequency half.
        embedding_size: D.
        generators: K, classes (the real class is one of them).
        prototypes_per_generator: M.
        timesteps: T, noised latents of an image: looks × timesteps of the diffusion.
        auxiliary: classes that were learnt beside those and are never named; their prototypes serve the open-set
            density (`calibration.posterior`).
        gate: whether there is a gate; without one every feature weighs 1.
        log_sum_exp: class score τ·logsumexp(−d/τ) with a learnt τ; otherwise −min d.
        temporal: "attention" for the softmax over T of a learnt score, "uniform" for the mean over T. With one timestep
            there is no temporal pool, whatever this says.
        vit_image_size: for `vit_b_16`: the side that it works at.
        hidden: for `second_order`: units of the hidden layer of each look and timestep.
        levelled: components of the embedding, the first ones, whose part in the class scores is brought to log
            probabilities; how far an image lies from every class is then told by the other components alone.
    """

    backbone: BackboneKind
    in_channels: int
    embedding_size: int
    generators: int
    prototypes_per_generator: int
    timesteps: int
    auxiliary: int = 0
    gate: bool = True
    log_sum_exp: bool = True
    temporal: Literal["attention", "uniform"] = "attention"
    vit_image_size: int = VIT_IMAGE_SIZE
    hidden: int = HIDDEN
    levelled: int = 0

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONE_KINDS:
            raise ValueError(f"no backbone {self.backbone!r}: choose one of {', '.join(BACKBONE_KINDS)}")
        for name in ("in_channels", "embedding_size", "prototypes_per_generator", "timesteps", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: at least 1 is needed")
        if not 0 <= self.levelled <= self.embedding_size:
            raise ValueError(f"levelled is {self.levelled}: give 0 to {self.embedding_size}, the embedding_size")
        if self.auxiliary < 0:
            raise ValueError(f"auxiliary is {self.auxiliary}: give the number of auxiliary classes, or 0")
        if self.generators < 2:
            raise ValueError(f"{self.generators} generators: at least 2 are needed to tell apart")
        if self.vit_image_size < VIT_PATCH or self.vit_image_size % VIT_PATCH:
            raise ValueError(f"vit_image_size is {self.vit_image_size}: a positive multiple of {VIT_PATCH} is needed")

    @property
    def temporal_attention(self) -> bool:
        """Whether there are weights of a temporal pool."""
        return self.temporal == "attention" and self.timesteps > 1


class AttributorTensors(NamedTuple):
    """What the network says of N images, all float32: embedding [N, D], gate [N, D] (ones without a gate),
    timestep_weight [N, T] (sums to 1), prototype_distance [N, K, M], class_score [N, K] (higher is nearer)."""

    embedding: torch.Tensor
    gate: torch.Tensor
    timestep_weight: torch.Tensor
    prototype_distance: torch.Tensor
    class_score: torch.Tensor


class _FeatureGate(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, size), nn.Sigmoid())


class _Backbone(nn.Module):
    def __init__(self, config: AttributorConfig) -> None:
        super().__init__()
        self.encoder = build_backbone(
            config.backbone,
            config.in_channels,
            config.embedding_size,
            vit_image_size=config.vit_image_size,
            positions=config.timesteps,
            hidden=config.hidden,
        )
        if config.gate:
            self.att = _FeatureGate(config.embedding_size)


class _Prototypes(nn.Module):
    auxiliary: torch.Tensor  # where there are auxiliary classes

    def __init__(self, config: AttributorConfig) -> None:
        super().__init__()
        shape = (config.generators, config.prototypes_per_generator, config.embedding_size)
        self.protos = nn.Parameter(torch.randn(shape) * PROTOTYPE_SPREAD)
        if config.auxiliary:
            self.register_buffer("auxiliary", torch.zeros(config.auxiliary, *shape[1:]))


class _LogSumExp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.log_tau = nn.Parameter(torch.zeros(()))


class _TemporalPool(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(size, 1)


class Attributor(nn.Module):
    """The attribution network. Freshly made, it is initialised from torch's global random state, in training mode."""

    def __init__(self, config: AttributorConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = _Backbone(config)
        self.proto_head = _Prototypes(config)
        if config.log_sum_exp:
            self.lse_agg = _LogSumExp()
        if config.temporal_attention:
            self.temporal_pool = _TemporalPool(config.embedding_size)

    @property
    def prototypes(self) -> torch.Tensor:
        """float32 [K, M, D]."""
        return self.proto_head.protos

    @property
    def auxiliary_prototypes(self) -> torch.Tensor:
        """float32 [A, M, D], of auxiliary classes; A may be 0."""
        if not self.config.auxiliary:
            return self.prototypes[:0].detach()
        return self.proto_head.auxiliary

    @property
    def temperature(self) -> float | None:
        """τ of the class score, or None where it is the nearest prototype's."""
        if not self.config.log_sum_exp:
            return None
        return float(self.lse_agg.log_tau.detach().exp().clamp(LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE))

    def forward(self, z_t: torch.Tensor) -> AttributorTensors:
        """Noised latents float32 [N, T, C', h, w] → AttributorTensors."""
        embedding, gate, timestep_weight = self.pool(*self.embed_timesteps(z_t))
        distance = self.prototype_distance(embedding, gate)
        class_score = self.class_score(distance)
        if self.config.levelled:
            class_score = class_score - self.level(embedding, gate)[:, None]
        return AttributorTensors(embedding, gate, timestep_weight, distance, class_score)

    def embed_timesteps(self, z_t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Noised latents float32 [N, T, C', h, w] → embeddings h_t and gates g_t, both float32 [N, T, D]."""
        timesteps, size = self.config.timesteps, self.config.embedding_size
        # T comes from the configuration, not the tensor, so that an exported graph has only N as a free dimension.
        h = self.backbone.encoder(z_t.flatten(0, 1)).reshape(-1, timesteps, size)
        g = self.backbone.att.gate(h) if self.config.gate else torch.ones_like(h)
        return h, g

    def embed(self, z_t: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Embeddings float32 [B, D] of single noised latents [B, C', h, w].

        Args:
            position: int64 [B], which of the T inputs each latent is.
        """
        encoder = self.backbone.encoder
        embedded: torch.Tensor = encoder(z_t, position) if isinstance(encoder, SecondOrderEncoder) else encoder(z_t)
        return embedded

    def pool(
        self, h: torch.Tensor, g: torch.Tensor, timestep_dropped: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pools over timesteps: embedding [N, D], gate [N, D], weight [N, T].

        Args:
            h, g: float32 [N, T, D], from `embed_timesteps`.
            timestep_dropped: bool [N, T]; these are left out: their weight is 0. (The published code gives them the
                weight of a zero embedding, which the attention then learns to expect.) Where all T of an image are
                dropped, the first is kept. With one timestep nothing is ever dropped.
        """
        if self.config.timesteps == 1:
            return h[:, 0], g[:, 0], torch.ones_like(h[:, :, 0])
        scores = self.temporal_pool.query(h).squeeze(-1) if self.config.temporal_attention else None
        if timestep_dropped is None and scores is None:
            weight = torch.full_like(h[:, :, 0], 1.0 / self.config.timesteps)
        else:
            scores = torch.zeros_like(h[:, :, 0]) if scores is None else scores
            if timestep_dropped is not None:
                first = torch.zeros_like(timestep_dropped)
                first[:, 0] = timestep_dropped.all(dim=1)
                scores = scores.masked_fill(timestep_dropped & ~first, -torch.inf)
            weight = torch.softmax(scores, dim=1)
        gate = (weight.unsqueeze(-1) * g).sum(dim=1) if self.config.gate else g[:, 0]
        return (weight.unsqueeze(-1) * h).sum(dim=1), gate, weight

    def prototype_distance(self, embedding: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        """d = Σ g·(h − p)²: float32 [N, K, M]."""
        difference = embedding[:, None, None, :] - self.prototypes
        return (gate[:, None, None, :] * difference.square()).sum(dim=-1)

    def level(self, embedding: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        """log Σ_k exp of the class scores that the levelled components alone would give: float32 [N]."""
        levelled = self.config.levelled
        difference = embedding[:, None, None, :levelled] - self.prototypes[..., :levelled]
        distance = (gate[:, None, None, :levelled] * difference.square()).sum(dim=-1)
        return torch.logsumexp(self.class_score(distance), dim=1)

    def class_score(self, prototype_distance: torch.Tensor) -> torch.Tensor:
        """τ·logsumexp(−d/τ) over the prototypes, or −min d: [N, K, M] → float32 [N, K]."""
        if not self.config.log_sum_exp:
            return -prototype_distance.min(dim=-1).values
        tau = self.lse_agg.log_tau.exp().clamp(LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE)
        return tau * torch.logsumexp(-prototype_distance / tau, dim=-1)
