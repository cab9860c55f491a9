"""A per-timestep encoder that pools second-order statistics: what channels have in common, not what is where.

The traces of a generator are stationary, the content of an image is not. Correlations of channels, their log deviations
and their spatial autocorrelations over the whole latent say much of the first and little of the second, so that a
network on them learns faces and backgrounds less than one that sees the latent itself; and they cost a matrix product.
Deep second-order pooling: Li et al. 2017, "Is second-order information helpful for large-scale visual recognition?".
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from protoleak.latent_statistics import LAGS, SMALLEST_VARIANCE, statistic_count

LARGEST_STATISTIC = 10.0  # standard deviations: what lies beyond says "unusual" as loudly as it should
HIDDEN = 96
# In training. A few hundred images of a class have far fewer independent traces than there are statistics.
DROPOUT, NOISE = 0.5, 0.3  # NOISE in standard deviations of each whitened statistic


def second_order_features(z: torch.Tensor) -> torch.Tensor:
    """Of latents float32 [B, C, h, w]: float32 [B, F], the correlations of each pair of channels, the log standard
    deviation of each channel, and its autocorrelation at each of LAGS (`latent_statistics`, in NumPy, is the same)."""
    height, width = z.shape[2:]
    centred = z - z.mean(dim=(2, 3), keepdim=True)
    flat = centred.flatten(2)
    covariance = flat @ flat.transpose(1, 2) / (height * width)
    return statistics_of_covariance(covariance, autocorrelated(centred))


def autocorrelated(centred: torch.Tensor) -> torch.Tensor:
    """float32 [B, C, h, w] → [B, C, lags]: the mean product of each plane with itself at each of LAGS."""
    height, width = centred.shape[2:]
    parts = []
    for down, right in LAGS:
        first = centred[:, :, down:, right:]
        second = centred[:, :, : height - down, : width - right]
        parts.append((first * second).mean(dim=(2, 3)))
    return torch.stack(parts, dim=2)


def statistics_of_covariance(covariance: torch.Tensor, lags: torch.Tensor) -> torch.Tensor:
    """The statistics, from covariances float32 [B, C, C] and mean products at LAGS [B, C, lags]: float32 [B, F]."""
    channels = covariance.shape[1]
    # By index: what the exporter writes for a diagonal has an operator that no bundle may use.
    variance = covariance.flatten(1)[:, torch.arange(channels) * (channels + 1)] + SMALLEST_VARIANCE
    inverse = variance.rsqrt()
    correlation = (covariance * inverse[:, :, None] * inverse[:, None, :]).flatten(1)
    row, column = torch.triu_indices(channels, channels, offset=1)
    parts = [correlation[:, row * channels + column], 0.5 * variance.log()]
    parts.append((lags / variance[:, :, None]).transpose(1, 2).flatten(1))  # lag by lag
    return torch.cat(parts, dim=1)


class SecondOrderStatistics(nn.Module):
    """`second_order_features` as a module, which has no parameters."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return second_order_features(z)


class SecondOrderEncoder(nn.Module):
    """Noised latents of P positions (looks × timesteps) → embeddings: second-order statistics through two linear layers
    of each position's own, since noise changes what the statistics look like.

    It is trained on whitened statistics (`training.statistics`), whose whitening is then folded into the first layer.

    Args:
        in_channels: C'.
        embedding_size: D.
        positions: P.
        hidden: units of the hidden layer of each position.
    """

    def __init__(self, in_channels: int, embedding_size: int, positions: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        features = statistic_count(in_channels)
        self.statistics: nn.Module = SecondOrderStatistics()
        self.heads = nn.ModuleList([_Head(features, embedding_size, hidden) for _ in range(positions)])

    def forward(self, z: torch.Tensor, position: torch.Tensor | None = None) -> torch.Tensor:
        """float32 [B, C', h, w] → [B, D].

        Args:
            position: int64 [B], of each latent; None where all P positions of each image follow one another.
        """
        features = self.statistics(z)
        if position is not None:
            return self._each(features, position, standardised=False)
        of_image = features.reshape(-1, len(self.heads), features.shape[1])
        return torch.stack([head(of_image[:, p]) for p, head in enumerate(self.heads)], dim=1).flatten(0, 1)

    def embed_whitened(self, whitened: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Embeddings of whitened statistics, before `fold`: float32 [N, P, F] → [wanted, D], image by image.

        Args:
            wanted: bool [N, P].
        """
        return self._each(whitened[wanted], torch.nonzero(wanted)[:, 1], standardised=True)

    def fold(self, mean: torch.Tensor, inverse_deviation: torch.Tensor, whitening: torch.Tensor) -> None:
        """Has the heads, which were trained on whitened statistics, take the statistics as they are.

        Args:
            mean, inverse_deviation: float32 [P, F], of the statistics.
            whitening: float32 [P, F, F], symmetric, of the standardised ones.
        """
        with torch.no_grad():
            for p, head in enumerate(self.heads):
                assert isinstance(head, _Head)
                head.mean.copy_(mean[p])
                head.inverse_deviation.copy_(inverse_deviation[p])
                head.hidden.weight.copy_(head.hidden.weight @ whitening[p])

    def fold_norms(self) -> None:
        """Multiplies what batch normalisation does in a trained network into the first layers, which lose the units
        that write nothing into the embedding."""
        for head in self.heads:
            assert isinstance(head, _Head)
            if isinstance(head.norm, nn.BatchNorm1d):
                head.hidden = fuse_linear_bn_eval(head.hidden.eval(), head.norm.eval())
                head.norm = nn.Identity()
            head.drop_unread_units()

    def _each(self, features: torch.Tensor, position: torch.Tensor, *, standardised: bool) -> torch.Tensor:
        """[B, F] through the head of each one's position: [B, D]."""
        order = torch.cat([torch.nonzero(position == p).squeeze(1) for p in range(len(self.heads))])
        parts = torch.split(features[order], torch.bincount(position, minlength=len(self.heads)).tolist())
        embedded = []
        for head, part in zip(self.heads, parts, strict=True):
            assert isinstance(head, _Head)
            if len(part):
                embedded.append(head.embed(part) if standardised else head(part))
        together = torch.cat(embedded)
        return torch.empty_like(together).index_copy(0, order, together)


class _Head(nn.Module):
    """Statistics [B, F] → embedding [B, D]."""

    mean: torch.Tensor
    inverse_deviation: torch.Tensor

    def __init__(self, features: int, embedding_size: int, hidden: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("inverse_deviation", torch.ones(features))
        self.drop_features = nn.Dropout(DROPOUT)
        self.hidden = nn.Linear(features, hidden)
        self.norm: nn.Module = nn.BatchNorm1d(hidden)
        self.drop = nn.Dropout(DROPOUT)
        self.out = nn.Linear(hidden, embedding_size)

    def forward(self, statistics: torch.Tensor) -> torch.Tensor:
        return self.embed(standardised_statistics(statistics, self.mean, self.inverse_deviation))

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """Of standardised, or in training whitened, statistics."""
        if self.training:
            features = features + NOISE * torch.randn_like(features)
        hidden = torch.relu(self.norm(self.hidden(self.drop_features(features))))
        embedding: torch.Tensor = self.out(self.drop(hidden))
        return embedding

    def drop_unread_units(self) -> None:
        """Takes out the hidden units whose outgoing weights are all 0."""
        with torch.no_grad():
            read = self.out.weight.any(dim=0)
            if bool(read.all()) or not bool(read.any()):
                return
            hidden = nn.Linear(self.hidden.in_features, int(read.sum()))
            hidden.weight.copy_(self.hidden.weight[read])
            hidden.bias.copy_(self.hidden.bias[read])
            out = nn.Linear(hidden.out_features, self.out.out_features)
            out.weight.copy_(self.out.weight[:, read])
            out.bias.copy_(self.out.bias)
        self.hidden, self.out = hidden, out


def standardised_statistics(
    statistics: torch.Tensor, mean: torch.Tensor, inverse_deviation: torch.Tensor
) -> torch.Tensor:
    """In standard deviations from the mean, none further than LARGEST_STATISTIC; shapes broadcast."""
    return ((statistics - mean) * inverse_deviation).clamp(-LARGEST_STATISTIC, LARGEST_STATISTIC)
