"""A per-timestep encoder that pools second-order statistics: what channels have in common, not what is where.

The traces of a generator are stationary, the content of an image is not. Correlations of channels, their log deviations
and their spatial autocorrelations over the whole latent say much of the first and little of the second, so that a
network on them learns faces and backgrounds less than one that sees the latent itself; and they cost a matrix product.
Deep second-order pooling: Li et al. 2017, "Is second-order information helpful for large-scale visual recognition?".
"""

from __future__ import annotations

import torch
from torch import nn

LAGS = ((0, 1), (1, 0), (0, 2), (2, 0), (1, 1))  # rows down and columns right, in latent pixels
SMALLEST_VARIANCE = 1e-6
LARGEST_FEATURE = 6.0  # standard deviations: what lies beyond says "unusual" as loudly as it should
HIDDEN = 256
# In training. A few hundred images of a class have far fewer independent traces than there are statistics.
DROPOUT, NOISE = 0.5, 0.3  # NOISE in standard deviations of each statistic


def feature_count(channels: int) -> int:
    """F of `second_order_features`."""
    return channels * (channels - 1) // 2 + channels * (1 + len(LAGS))


def second_order_features(z: torch.Tensor) -> torch.Tensor:
    """Of latents float32 [B, C, h, w]: float32 [B, F], the correlations of each pair of channels, the log standard
    deviation of each channel, and its autocorrelation at each of LAGS."""
    channels, height, width = z.shape[1:]
    centred = z - z.mean(dim=(2, 3), keepdim=True)
    flat = centred.flatten(2)
    covariance = flat @ flat.transpose(1, 2) / (height * width)
    variance = centred.square().mean(dim=(2, 3)) + SMALLEST_VARIANCE
    inverse = variance.rsqrt()
    correlation = (covariance * inverse[:, :, None] * inverse[:, None, :]).flatten(1)
    row, column = torch.triu_indices(channels, channels, offset=1)
    parts = [correlation[:, row * channels + column], 0.5 * variance.log()]
    for down, right in LAGS:
        first = centred[:, :, down:, right:]
        second = centred[:, :, : height - down, : width - right]
        parts.append((first * second).mean(dim=(2, 3)) / variance)
    return torch.cat(parts, dim=1)


class SecondOrderEncoder(nn.Module):
    """Noised latents of P positions (looks × timesteps) → embeddings: second-order statistics through two linear layers
    of each position's own, since noise changes what the statistics look like.

    Args:
        in_channels: C'.
        embedding_size: D.
        positions: P.
    """

    def __init__(self, in_channels: int, embedding_size: int, positions: int) -> None:
        super().__init__()
        features = feature_count(in_channels)
        self.heads = nn.ModuleList([_Head(features, embedding_size) for _ in range(positions)])

    def forward(self, z: torch.Tensor, position: torch.Tensor | None = None) -> torch.Tensor:
        """float32 [B, C', h, w] → [B, D].

        Args:
            position: int64 [B], of each latent; None where all P positions of each image follow one another.
        """
        features = second_order_features(z)
        if position is None:
            of_image = features.reshape(-1, len(self.heads), features.shape[1])
            return torch.stack([head(of_image[:, p]) for p, head in enumerate(self.heads)], dim=1).flatten(0, 1)
        order = torch.cat([torch.nonzero(position == p).squeeze(1) for p in range(len(self.heads))])
        counts = torch.bincount(position, minlength=len(self.heads)).tolist()
        parts = torch.split(features[order], counts)
        embedded = torch.cat([head(part) for head, part in zip(self.heads, parts, strict=True) if len(part)])
        return torch.empty_like(embedded).index_copy(0, order, embedded)


class _Head(nn.Module):
    """Statistics [B, F] → embedding [B, D]."""

    def __init__(self, features: int, embedding_size: int) -> None:
        super().__init__()
        self.standardise = nn.BatchNorm1d(features, affine=False)
        self.drop_features = nn.Dropout(DROPOUT)
        self.hidden = nn.Linear(features, HIDDEN)
        self.norm = nn.BatchNorm1d(HIDDEN)
        self.drop = nn.Dropout(DROPOUT)
        self.out = nn.Linear(HIDDEN, embedding_size)

    def forward(self, statistics: torch.Tensor) -> torch.Tensor:
        features = self.standardise(statistics).clamp(-LARGEST_FEATURE, LARGEST_FEATURE)
        if self.training:
            features = features + NOISE * torch.randn_like(features)
        hidden = torch.relu(self.norm(self.hidden(self.drop_features(features))))
        embedding: torch.Tensor = self.out(self.drop(hidden))
        return embedding
