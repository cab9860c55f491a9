"""The open-set density that the prototypes make: how well the nearest class explains an image against all else learnt.

Each class is a mixture of kernels around its prototypes, f_k(h) = Σ_m exp(−d_km/τ) to the power τ, whose logarithm is
the class score; training maximises the share f_k / Σ_j f_j of the right class, j over named and auxiliary classes. The
log density of an image is the logarithm of the greatest share among named classes, and, where its best f_k is lower
than of nearly all images that were learnt from, what it lacks to those besides: an image that is far from everything
is like nothing known, however the classes share it.

docs/decisions/0021-posterior-density.md compares it with the kernel density of training embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from protoleak.arrays import Float64Array
from protoleak.errors import CalibrationError

FLOOR_QUANTILE = 0.01  # of the best class scores of training images; the default of the floor


@dataclass(frozen=True)
class PosteriorDensity:
    """A fitted density: constants of a bundle.

    Attributes:
        prototypes: float64 [K, M, D], of the named classes.
        auxiliary: float64 [A, M, D], of the others.
        temperature: τ of the class score.
        floor: best class score below which an image lies too far from everything, in nats.
        levelled: as of the network (`AttributorConfig.levelled`).
    """

    prototypes: Float64Array
    auxiliary: Float64Array
    temperature: float
    floor: float
    levelled: int = 0

    @property
    def space(self) -> str:
        return "posterior"

    @classmethod
    def fit(
        cls,
        prototypes: npt.NDArray[np.floating],
        auxiliary: npt.NDArray[np.floating],
        temperature: float | None,
        embedding: npt.NDArray[np.floating],
        gate: npt.NDArray[np.floating],
        floor_quantile: float = FLOOR_QUANTILE,
        levelled: int = 0,
    ) -> PosteriorDensity:
        """From prototypes [K, M, D] and [A, M, D], and embeddings and gates [N, D] of the training images.

        Args:
            floor_quantile: of the training images' best class scores, which the floor is. 1 lets the distance to the
                nearest class count for every image, and not only for those far from all.
            levelled: as of the network.

        Raises:
            CalibrationError: the network's class score has no τ, or a value is not finite.
        """
        if temperature is None:
            raise CalibrationError(
                "the density of the prototypes needs a network whose class score is a logsumexp over prototypes: "
                "choose the density space whitened or gated"
            )
        points = prototypes.astype(np.float64), auxiliary.astype(np.float64)
        unbounded = cls(*points, temperature, -np.inf, levelled)
        best = unbounded.scores(embedding, gate)[:, : len(prototypes)].max(axis=1)
        if not np.isfinite(best).all():
            raise CalibrationError("training images gave embeddings that are not finite: the model is unusable")
        return cls(*points, temperature, float(np.quantile(best, floor_quantile)), levelled)

    def scores(self, embedding: npt.NDArray[np.floating], gate: npt.NDArray[np.floating]) -> Float64Array:
        """Class scores float64 [N, K + A] of embeddings and gates [N, D]."""
        points, weights = embedding.astype(np.float64), gate.astype(np.float64)
        scores = self._scores(points, weights, points.shape[1])
        if not self.levelled:
            return scores
        of_levelled = self._scores(points, weights, self.levelled)[:, : len(self.prototypes)]
        return np.asarray(scores - logsumexp(of_levelled, axis=1, keepdims=True))

    def _scores(self, points: Float64Array, weights: Float64Array, components: int) -> Float64Array:
        """Of the first components of embeddings: float64 [N, K + A]."""
        of_class = []
        for prototypes in (*self.prototypes, *self.auxiliary):
            difference = points[:, None, :components] - prototypes[:, :components]
            distance = (weights[:, None, :components] * np.square(difference)).sum(axis=2)
            of_class.append(self.temperature * logsumexp(-distance / self.temperature, axis=1))
        return np.stack(of_class, axis=1)

    def log_density(self, embedding: npt.NDArray[np.floating], gate: npt.NDArray[np.floating]) -> Float64Array:
        """In nats, float64 [N], of embeddings and gates [N, D]."""
        scores = self.scores(embedding, gate)
        best = scores[:, : len(self.prototypes)].max(axis=1)
        return np.asarray(best - logsumexp(scores, axis=1) + np.minimum(best - self.floor, 0.0))
