"""Metric heads inside the exported graph: class scores in float32, equal to `calibration.heads` but for rounding.

Every module maps embedding and gate [N, D] and the prototypes' class score [N, K] to class scores [N, K]. Few
prototypes or components are compared by explicit differences; for the many references of a kernel density see
`export.density_module`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from protoleak.calibration.heads import Head, KernelDensityHead, MahalanobisHead, PrototypeHead, TiedGaussianHead
from protoleak.calibration.mixture import GaussianMixtureHead
from protoleak.calibration.scaling import Standardisation
from protoleak.export.density_module import KernelLogDensity, float32_buffer, log_sum_exp, per_image_product


class HeadModule(nn.Module):
    """A fitted head: embedding, gate and prototype score to class score float32 [N, K]."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.scorer = _scorer(head)

    def forward(self, embedding: Tensor, gate: Tensor, prototype_score: Tensor) -> Tensor:
        class_score: Tensor = self.scorer(embedding, gate, prototype_score)
        return class_score


def _scorer(head: Head) -> nn.Module:
    if isinstance(head, PrototypeHead):
        return PrototypeModule()
    if isinstance(head, MahalanobisHead):
        return MahalanobisModule(head)
    if isinstance(head, GaussianMixtureHead):
        return GaussianMixtureModule(head)
    if isinstance(head, KernelDensityHead):
        return KernelDensityModule(head)
    if isinstance(head, TiedGaussianHead):
        return TiedGaussianModule(head)
    raise TypeError(f"no module for a head of type {type(head).__name__}")


class PrototypeModule(nn.Module):
    """The prototypes' class score, unchanged."""

    def forward(self, embedding: Tensor, gate: Tensor, prototype_score: Tensor) -> Tensor:  # noqa: ARG002
        return prototype_score


class StandardisationModule(nn.Module):
    """(x − mean) / deviation."""

    mean: Tensor
    inverse_deviation: Tensor

    def __init__(self, standardisation: Standardisation) -> None:
        super().__init__()
        self.register_buffer("mean", float32_buffer(standardisation.mean))
        self.register_buffer("inverse_deviation", float32_buffer(1.0 / standardisation.deviation))

    def forward(self, embedding: Tensor) -> Tensor:
        return (embedding - self.mean) * self.inverse_deviation


def _moved_means(standardisation: Standardisation, means: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Tensor:
    """Means of standardised embeddings, moved by what rounding takes from the mean that the graph subtracts."""
    rounded = standardisation.mean.astype(np.float32).astype(np.float64)
    return float32_buffer(means + (standardisation.mean - rounded) / standardisation.deviation)


class MahalanobisModule(nn.Module):
    """−Σ g (z − μ_k)² / s_k."""

    means: Tensor
    inverse_variances: Tensor

    def __init__(self, head: MahalanobisHead) -> None:
        super().__init__()
        self.standardise = StandardisationModule(head.standardisation)
        self.register_buffer("means", _moved_means(head.standardisation, head.means))
        self.register_buffer("inverse_variances", float32_buffer(head.inverse_variances))

    def forward(self, embedding: Tensor, gate: Tensor, prototype_score: Tensor) -> Tensor:  # noqa: ARG002
        standardised: Tensor = self.standardise(embedding)
        difference = standardised.unsqueeze(1) - self.means
        return -(gate.unsqueeze(1) * difference.square() * self.inverse_variances).sum(dim=2)


class GaussianMixtureModule(nn.Module):
    """log Σ_j w_kj N(z; μ_kj, diag s_kj)."""

    means: Tensor
    inverse_variances: Tensor
    constants: Tensor

    def __init__(self, head: GaussianMixtureHead) -> None:
        super().__init__()
        self.standardise = StandardisationModule(head.standardisation)
        self.register_buffer("means", _moved_means(head.standardisation, head.means))
        self.register_buffer("inverse_variances", float32_buffer(1.0 / head.variances))
        constants = np.log(head.weights) - 0.5 * np.log(2 * np.pi * head.variances).sum(axis=2)
        self.register_buffer("constants", float32_buffer(constants))

    def forward(self, embedding: Tensor, gate: Tensor, prototype_score: Tensor) -> Tensor:  # noqa: ARG002
        standardised: Tensor = self.standardise(embedding)
        difference = standardised[:, None, None, :] - self.means
        exponents = self.constants - 0.5 * (difference.square() * self.inverse_variances).sum(dim=3)
        return log_sum_exp(exponents)


class KernelDensityModule(nn.Module):
    """One kernel density per generator."""

    def __init__(self, head: KernelDensityHead) -> None:
        super().__init__()
        groups = np.split(head.references, np.cumsum(head.counts)[:-1])
        self.kernels = nn.ModuleList(KernelLogDensity(group, head.bandwidth) for group in groups)

    def forward(self, embedding: Tensor, gate: Tensor, prototype_score: Tensor) -> Tensor:  # noqa: ARG002
        return torch.stack([kernel(embedding) for kernel in self.kernels], dim=1)


class TiedGaussianModule(nn.Module):
    """The linear discriminant of embeddings about their common mean."""

    centre: Tensor
    weights: Tensor
    bias: Tensor

    def __init__(self, head: TiedGaussianHead) -> None:
        super().__init__()
        centre = float32_buffer(head.centre)
        self.register_buffer("centre", centre)
        self.register_buffer("weights", float32_buffer(head.weights))
        moved = (centre.numpy().astype(np.float64) - head.centre) @ head.weights.T
        self.register_buffer("bias", float32_buffer(head.bias + moved))

    def forward(self, embedding: Tensor, gate: Tensor, prototype_score: Tensor) -> Tensor:  # noqa: ARG002
        return per_image_product(self.weights, embedding - self.centre) + self.bias
