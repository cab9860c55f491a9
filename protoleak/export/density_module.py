"""The open-set density inside the exported graph: float32, and the same for an image whatever the batch.

|x − r|² is summed from differences and not expanded into products. Whitened classes lie hundreds of bandwidths apart
where training separates them well, and so would all vectors from any common centre: products of such vectors cancel to
the few bandwidths between near neighbours, which alone count, and leave errors of 1e-2 nats. A difference is as exact
as its operands. Bandwidths are divided out of the constants in float64, before rounding.

Where there are so many references that the differences, N·R·D numbers that pass through memory several times, take
longer than the rest of the graph, the products are taken around a centre near both of their operands: see
`ClusteredKernelLogDensity`.

The whitening has its matrix as the left operand, against one column per image: an image is then a matrix-vector
product of its own, of the same shape and the same order of summation in a batch of one as in any other. With the
images as rows, the batch size would choose the blocking of a matrix product, and with it the rounding.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from protoleak.arrays import Float64Array
from protoleak.calibration.density import SMALLEST_NORM, DensityModel
from protoleak.calibration.posterior import PosteriorDensity


def per_image_product(matrix: Tensor, images: Tensor) -> Tensor:
    """matrix [R, D] times each row of images [N, D]: [N, R]."""
    return torch.matmul(matrix, images.unsqueeze(2)).squeeze(2)


def float32_buffer(values: Float64Array | float) -> Tensor:
    """Constants computed in float64, rounded once."""
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


MOST_DIFFERENCES = 2000  # references whose differences are taken one by one: 0.1 ms on one core with 128 features
CLUSTERS = (16, 32, 64)  # of more references: as few as leave them narrow, since each costs an operator
MOST_ROUNDING = 1e-4  # nats, for a reference at the edge of its cluster


class KernelLogDensity(nn.Module):
    """log (1/R) Σ_r N(x; reference_r, bandwidth² I) of x float32 [N, D]: [N].

    x and the references are divided by the bandwidth first; the exponents are then −|x' − r'|²/2. All differences
    are in memory at once, N·R·D numbers.
    """

    centre: Tensor
    inverse_bandwidth: Tensor
    references: Tensor
    constant: Tensor

    def __init__(self, references: Float64Array, bandwidth: float) -> None:
        """Takes references float64 [R, D]."""
        super().__init__()
        count, dimensions = references.shape
        centre = float32_buffer(references.mean(axis=0))
        # Relative to the rounded centre, which is the one that the graph subtracts.
        scaled = (references - centre.numpy().astype(np.float64)) / bandwidth
        self.register_buffer("centre", centre)
        self.register_buffer("inverse_bandwidth", float32_buffer(1.0 / bandwidth))
        self.register_buffer("references", float32_buffer(scaled))
        normalisation = 0.5 * dimensions * math.log(2 * math.pi * bandwidth**2) + math.log(count)
        self.register_buffer("constant", float32_buffer(normalisation))

    def forward(self, points: Tensor) -> Tensor:
        scaled = (points - self.centre) * self.inverse_bandwidth
        squared = (scaled.unsqueeze(1) - self.references).square().sum(dim=2)
        return log_sum_exp(-0.5 * squared) - self.constant


class ClusteredKernelLogDensity(nn.Module):
    """The same for many references: −|x' − r'|²/2 = (r' − c)·(x' − c) − |r' − c|²/2 − |x' − c|²/2, with c the centre of
    the cluster that r' is in.

    For the references that count, those near x', both factors are as small as the cluster is wide: what cancels is the
    square of that width in bandwidths, not that of the distance between classes. Each cluster is one product of a row
    with a matrix, with both squares as two more features, so that the references are read once and nothing of their
    number but the exponents is written: a seventh to a third of what the differences take (`benchmarks/density.py`).

    The matrix is the right operand here, other than in `per_image_product`: engines then lay it out for their kernels
    when they open the graph, and take three quarters of the time. An engine that runs a batch together may round an
    image otherwise than alone; those of processors run images one by one.
    """

    centre: Tensor
    inverse_bandwidth: Tensor
    centres: Tensor
    constant: Tensor

    def __init__(self, references: Float64Array, bandwidth: float, clusters: int) -> None:
        """Takes references float64 [R, D]."""
        super().__init__()
        from sklearn.cluster import KMeans

        count, dimensions = references.shape
        centre = float32_buffer(references.mean(axis=0))
        scaled = (references - centre.numpy().astype(np.float64)) / bandwidth
        found = KMeans(clusters, n_init=1, random_state=0).fit(scaled)
        filled = np.unique(found.labels_)
        centres = float32_buffer(found.cluster_centers_[filled])
        self.register_buffer("centre", centre)
        self.register_buffer("inverse_bandwidth", float32_buffer(1.0 / bandwidth))
        self.register_buffer("centres", centres)
        self.rounding = 0.0  # of an exponent, in nats, near a reference at the edge of its cluster
        for index, label in enumerate(filled):
            # Relative to the rounded centre, which is the one that the graph subtracts.
            within = scaled[found.labels_ == label] - centres[index].numpy().astype(np.float64)
            half_square = -0.5 * np.square(within).sum(axis=1, keepdims=True)
            self.rounding = max(self.rounding, float(-half_square.min()) * 2**-23)
            columns = np.concatenate([within, half_square, np.ones_like(half_square)], axis=1)
            self.register_buffer(f"cluster_{index}", float32_buffer(columns.T.copy()))
        normalisation = 0.5 * dimensions * math.log(2 * math.pi * bandwidth**2) + math.log(count)
        self.register_buffer("constant", float32_buffer(normalisation))

    def forward(self, points: Tensor) -> Tensor:
        away = ((points - self.centre) * self.inverse_bandwidth).unsqueeze(1) - self.centres
        half_square = -0.5 * away.square().sum(dim=2, keepdim=True)
        columns = torch.cat([away, torch.ones_like(half_square), half_square], dim=2)
        exponents = [
            torch.matmul(columns[:, index : index + 1], self.get_buffer(f"cluster_{index}"))
            for index in range(len(self.centres))
        ]
        return log_sum_exp(torch.cat(exponents, dim=2).squeeze(1)) - self.constant


def kernel_log_density_module(references: Float64Array, bandwidth: float) -> nn.Module:
    """log (1/R) Σ_r N(x; reference_r, bandwidth² I) in the form that suits so many references float64 [R, D]."""
    if len(references) > MOST_DIFFERENCES:
        for clusters in CLUSTERS:
            module = ClusteredKernelLogDensity(references, bandwidth, clusters)
            if module.rounding <= MOST_ROUNDING:
                return module
    return KernelLogDensity(references, bandwidth)


def log_sum_exp(exponents: Tensor) -> Tensor:
    """Over the last axis. Written out, since finite exponents need none of torch's guards in the graph."""
    largest = exponents.amax(dim=-1, keepdim=True)
    return (exponents - largest).exp().sum(dim=-1).log() + largest.squeeze(-1)


class DensityModule(nn.Module):
    """A fitted DensityModel: embedding and gate float32 [N, D] to log density float32 [N], in nats.

    Where it is contrasted, two kernel sums are in the graph, and their weighed difference is the output.
    """

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
        self.kernel = kernel_log_density_module(model.references + moved, model.bandwidth)
        self.contrast = model.contrast
        self.auxiliary = (
            None if model.auxiliary is None else kernel_log_density_module(model.auxiliary + moved, model.bandwidth)
        )

    def forward(self, embedding: Tensor, gate: Tensor) -> Tensor:
        gated = embedding * gate
        if not self.whitened:
            return self._kernel(gated)
        norm = gated.square().sum(dim=1, keepdim=True).sqrt().clamp_min(SMALLEST_NORM)
        return self._kernel(per_image_product(self.whitening, gated / norm - self.mean))  # the matrix is symmetric

    def _kernel(self, vector: Tensor) -> Tensor:
        density: Tensor = self.kernel(vector)
        return density if self.auxiliary is None else density - self.contrast * self.auxiliary(vector)


class PosteriorModule(nn.Module):
    """A fitted PosteriorDensity: embedding and gate float32 [N, D] to log density float32 [N], in nats."""

    prototypes: Tensor

    def __init__(self, model: PosteriorDensity) -> None:
        super().__init__()
        self.named = len(model.prototypes)
        self.register_buffer("prototypes", float32_buffer(np.concatenate([model.prototypes, model.auxiliary])))
        self.temperature = model.temperature
        self.floor = model.floor
        self.levelled = model.levelled

    def forward(self, embedding: Tensor, gate: Tensor) -> Tensor:
        difference = embedding[:, None, None, :] - self.prototypes
        parts = gate[:, None, None, :] * difference.square()
        scores = self._scores(parts)
        if self.levelled:
            of_levelled = self._scores(parts[:, : self.named, :, : self.levelled])
            scores = scores - torch.logsumexp(of_levelled, dim=1, keepdim=True)
        best = scores[:, : self.named].amax(dim=1)
        return best - torch.logsumexp(scores, dim=1) + (best - self.floor).clamp_max(0.0)

    def _scores(self, parts: Tensor) -> Tensor:
        """Class scores [N, K] of what each component adds to the distance to each prototype, [N, K, M, D]."""
        return self.temperature * torch.logsumexp(-parts.sum(dim=-1) / self.temperature, dim=-1)


def density_module(model: DensityModel | PosteriorDensity) -> nn.Module:
    """The module of either density."""
    return PosteriorModule(model) if isinstance(model, PosteriorDensity) else DensityModule(model)
