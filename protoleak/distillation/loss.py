"""How far a student's latents are from its teacher's.

The plain squared error is spent where the teacher's latents vary most: channels that move together, which carry the
content. The traces that tell generators apart lie in the directions in which little varies. So the error is weighed by
the inverse of the channels' covariance (the Mahalanobis distance between latents), and besides at each position it is
compared in the means of ever larger squares, up to the whole image: what is left there is a constant leak.
docs/decisions/0011-distillation-loss.md has the measurements.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from protoleak.arrays import Float32Array, Float64Array

PART = 256  # latents whose correlation is taken together
# A channel that never varies, or channels that say the same, are divided by these, so that their error stays finite.
SMALLEST_SPREAD, SMALLEST_EIGENVALUE = 1e-6, 1e-6


@dataclass(frozen=True)
class DistillationLoss:
    """The loss, with the teacher's statistics that it measures in.

    Attributes:
        mean, spread: float32 [C], of the teacher's latents, per channel.
        whitening: float32 [C, C], symmetric; applied to the error of standardised latents.
    """

    mean: torch.Tensor
    spread: torch.Tensor
    whitening: torch.Tensor

    @classmethod
    def of(cls, latents: Float32Array, whitening: float) -> DistillationLoss:
        """The loss against a teacher, by the statistics of its latents.

        Args:
            latents: the teacher's, float32 [n, C, h, w].
            whitening: a share s from 0 to 1. The error is weighed by ((1 − s)·I + s·R)⁻¹, where R is the correlation
                of the channels; 0 is the plain squared error of standardised channels.
        """
        mean, spread = latents.mean(axis=(0, 2, 3)), latents.std(axis=(0, 2, 3)) + SMALLEST_SPREAD
        correlation = _correlation(latents, mean, spread)
        values, vectors = np.linalg.eigh((1 - whitening) * np.eye(len(mean)) + whitening * correlation)
        matrix = (vectors / np.sqrt(np.maximum(values, SMALLEST_EIGENVALUE))) @ vectors.T
        return cls(torch.from_numpy(mean), torch.from_numpy(spread), torch.from_numpy(matrix).float())

    def __call__(self, predicted: torch.Tensor, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss, and the mean squared error of standardised latents: two float32 scalars.

        Args:
            predicted: float32 [n, C, h, w], standardised latents of the student.
            latents: float32 [n, C, h, w], the teacher's. Squares have sides of 2, 4, 8, … up to the shorter of h and w;
                where a side doesn't divide these, the last rows and columns are left out of its means.
        """
        error = predicted - (latents - self.mean[:, None, None]) / self.spread[:, None, None]
        weighed = torch.einsum("dc,nchw->ndhw", self.whitening, error)
        loss, side = weighed.square().mean(), 2
        while side <= min(error.shape[2:]):
            loss = loss + F.avg_pool2d(weighed, side).square().mean()
            side *= 2
        return loss, error.detach().square().mean()


def _correlation(latents: Float32Array, mean: Float32Array, spread: Float32Array) -> Float64Array:
    """Correlation of the channels over all latents and positions, float64 [C, C]."""
    total = np.zeros((len(mean), len(mean)))
    for start in range(0, len(latents), PART):
        part = (latents[start : start + PART] - mean[:, None, None]) / spread[:, None, None]
        flat = part.transpose(1, 0, 2, 3).reshape(len(mean), -1)
        total += flat @ flat.T
    return np.asarray(total / (len(latents) * latents.shape[2] * latents.shape[3]))
