"""The open-set density inside the exported graph: float32, and the same for an image whatever the batch.

Two things keep float32 exact enough. Everything is centred before |x − r|² is expanded into products, so that no large
common part cancels; and bandwidths are divided out of the constants in float64, before rounding.

Products have the references as their left operand, against one column per image: an image is then a matrix-vector
product of its own, of the same shape and the same order of summation in a batch of one as in any other. With the
images as rows, the batch size would choose the blocking of a matrix product, and with it the rounding.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from protoleak.calibration.density import SMALLEST_NORM, DensityModel
from protoleak.diffusion import Float64Array


def per_image_product(matrix: Tensor, images: Tensor) -> Tensor:
    """matrix [R, D] times each row of images [N, D]: [N, R]."""
    return torch.matmul(matrix, images.unsqueeze(2)).squeeze(2)


def float32_buffer(values: Float64Array | float) -> Tensor:
    """Constants computed in float64, rounded once."""
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


class KernelLogDensity(nn.Module):
    """log (1/R) Σ_r N(x; reference_r, bandwidth² I) of x float32 [N, D]: [N].

    With x' and r' divided by the bandwidth, the exponents are x'·r' − |r'|²/2 − |x'|²/2; the last is the same for all
    references and stays outside the log-sum-exp.
    """

    centre: Tensor
    inverse_bandwidth: Tensor
    references: Tensor
    half_norms: Tensor
    constant: Tensor

    def __init__(self, references: Float64Array, bandwidth: float) -> None:
        """Takes references float64 [R, D]."""
        super().__init__()
        count, dimensions = references.shape
        centre = float32_buffer(references.mean(axis=0))
        # Relative to the rounded centre, which is the one that the graph subtracts.
        scaled = (references - centre.numpy().astype(np.float64)) / bandwidth
        rounded = float32_buffer(scaled)
        self.register_buffer("centre", centre)
        self.register_buffer("inverse_bandwidth", float32_buffer(1.0 / bandwidth))
        self.register_buffer("references", rounded)
        self.register_buffer("half_norms", float32_buffer(0.5 * np.square(rounded.numpy().astype(np.float64)).sum(1)))
        normalisation = 0.5 * dimensions * math.log(2 * math.pi * bandwidth**2) + math.log(count)
        self.register_buffer("constant", float32_buffer(normalisation))

    def forward(self, points: Tensor) -> Tensor:
        scaled = (points - self.centre) * self.inverse_bandwidth
        exponents = per_image_product(self.references, scaled) - self.half_norms
        return log_sum_exp(exponents) - 0.5 * scaled.square().sum(dim=1) - self.constant


def log_sum_exp(exponents: Tensor) -> Tensor:
    """Over the last axis. Written out, since finite exponents need none of torch's guards in the graph."""
    largest = exponents.amax(dim=-1, keepdim=True)
    return (exponents - largest).exp().sum(dim=-1).log() + largest.squeeze(-1)


class DensityModule(nn.Module):
    """A fitted DensityModel: embedding and gate float32 [N, D] to log density float32 [N], in nats."""

    mean: Tensor
    whitening: Tensor

    def __init__(self, model: DensityModel) -> None:
        super().__init__()
        self.whitened = model.space == "whitened"
        mean = float32_buffer(model.mean)
        self.register_buffer("mean", mean)
        self.register_buffer("whitening", float32_buffer(model.whitening))
        # The graph subtracts the rounded mean, so the references move by what rounding took away.
        moved = (model.mean - mean.numpy().astype(np.float64)) @ model.whitening
        self.kernel = KernelLogDensity(model.references + moved, model.bandwidth)

    def forward(self, embedding: Tensor, gate: Tensor) -> Tensor:
        gated = embedding * gate
        if not self.whitened:
            return self._kernel(gated)
        norm = gated.square().sum(dim=1, keepdim=True).sqrt().clamp_min(SMALLEST_NORM)
        return self._kernel(per_image_product(self.whitening, gated / norm - self.mean))  # the matrix is symmetric

    def _kernel(self, vector: Tensor) -> Tensor:
        density: Tensor = self.kernel(vector)
        return density
