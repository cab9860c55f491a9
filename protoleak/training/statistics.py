"""Whitened second-order statistics: what the backbone `second_order` is trained on.

Statistics of latents lie far more along a few directions than along others: those in which scenes, cameras and file
writers differ. Divided by the spread *within* classes in every direction (the within-class whitening of linear
discriminant analysis: Fukunaga 1990, "Introduction to Statistical Pattern Recognition", chapter 10), the small
directions in which generators differ count as much; photographs of cameras that training never saw are then told from
generated images far better (`docs/decisions/0020-whitened-statistics.md`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from protoleak.model.second_order import SecondOrderEncoder, second_order_features, standardised_statistics
from protoleak.training.noising import Noising

# Of the average within-class variance: directions that hold less of it are not blown up.
RIDGE, DISCRIMINANTS_RIDGE = 0.05, 0.02
SMALLEST_DEVIATION = 1e-4
CHUNK = 64  # images at a time


def statistics_of(
    z0: torch.Tensor, noising: Noising, standardise: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Second-order statistics of latents with the frozen noise, as deployed: [n, L, C, h, w] → float32 [n, P, F]."""
    parts = []
    with torch.no_grad():
        for part in torch.split(z0, CHUNK):
            z_t = noising.with_bank(standardise(part))
            parts.append(second_order_features(z_t.flatten(0, 1)).reshape(*z_t.shape[:2], -1))
    return torch.cat(parts)


@dataclass(frozen=True)
class Whitening:
    """What makes the within-class covariance of statistics the identity, up to a ridge.

    Attributes:
        mean, inverse_deviation: float32 [P, F], of the statistics.
        matrix: float32 [P, F, F], symmetric, of the standardised ones.
    """

    mean: torch.Tensor
    inverse_deviation: torch.Tensor
    matrix: torch.Tensor

    @classmethod
    def of(
        cls, statistics: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, ridge: float = RIDGE
    ) -> Whitening:
        """From training statistics float32 [n, P, F], with their classes int64 [n] and how much each counts, float32
        [n], which sum to 1."""
        means, inverses, matrices = [], [], []
        for position in range(statistics.shape[1]):
            of_position = statistics[:, position]
            means.append(weights @ of_position)
            centred = of_position.clone()
            for label in torch.unique(labels):
                of_class = labels == label
                share = weights[of_class] / weights[of_class].sum()
                centred[of_class] -= share @ of_position[of_class]
            inverse = (weights @ centred.square()).sqrt().clamp_min(SMALLEST_DEVIATION).reciprocal()
            scaled = centred * inverse
            covariance = (weights[:, None] * scaled).T @ scaled
            values, vectors = torch.linalg.eigh(covariance)
            inverses.append(inverse)
            matrices.append((vectors / (values.clamp_min(0) + ridge).sqrt()) @ vectors.T)
        return cls(torch.stack(means), torch.stack(inverses), torch.stack(matrices))

    def __call__(self, statistics: torch.Tensor) -> torch.Tensor:
        """Whitened: float32 [n, P, F] → the same."""
        standardised = standardised_statistics(statistics, self.mean, self.inverse_deviation)
        return torch.stack([standardised[:, p] @ matrix for p, matrix in enumerate(self.matrix)], dim=1)

    def fold_into(self, encoder: SecondOrderEncoder) -> None:
        """Has an encoder that was trained on whitened statistics take them as they are."""
        encoder.fold(self.mean, self.inverse_deviation, self.matrix)


def draw_shares(labels: torch.Tensor, sources: torch.Tensor | None, turns_of: Mapping[int, int]) -> torch.Tensor:
    """How often `batches.balanced_order` draws each image, as shares that sum to 1: float32 [n]."""
    shares = torch.zeros(len(labels))
    for label in torch.unique(labels).tolist():
        of_class = labels == label
        within = torch.zeros_like(labels) if sources is None else sources
        found = torch.unique(within[of_class])
        for source in found:
            of_source = of_class & (within == source)
            shares[of_source] = turns_of.get(label, 1) / (len(found) * int(of_source.sum()))
    return shares / shares.sum()
