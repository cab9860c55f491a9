"""The published `proto_gmm` head: one diagonal Gaussian mixture per generator."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array
from protoleak.calibration.scaling import Standardisation, shrink_variances
from protoleak.errors import CalibrationError
from protoleak.metrics.scores import macro_auc_softmax

COMPONENTS = (2, 3, 4, 6)
VARIANCE_ADDED = 1e-3
ITERATIONS = 256


@dataclass(frozen=True)
class GaussianMixtureHead:
    """log Σ_j w_kj N(z; μ_kj, diag s_kj) of the standardised embedding z; the gate has no part in it.

    Attributes:
        standardisation: over all training embeddings.
        weights: float64 [K, J], above 0.
        means, variances: float64 [K, J, D].
    """

    standardisation: Standardisation
    weights: Float64Array
    means: Float64Array
    variances: Float64Array

    def scores(
        self,
        embedding: npt.NDArray[np.floating],
        gate: npt.NDArray[np.floating],  # noqa: ARG002
        prototype_score: npt.NDArray[np.floating],  # noqa: ARG002
    ) -> Float64Array:
        """Class scores float64 [N, K]."""
        standardised = self.standardisation.apply(embedding)
        columns = []
        for weights, means, variances in zip(self.weights, self.means, self.variances, strict=True):
            squared = np.square(standardised[:, None] - means) / variances
            constant = np.log(weights) - 0.5 * np.log(2 * np.pi * variances).sum(axis=1)
            columns.append(np.logaddexp.reduce(constant - 0.5 * squared.sum(axis=2), axis=1))
        return np.stack(columns, axis=1)


def fit_gaussian_mixture(
    embedding: Float64Array,
    labels: npt.NDArray[np.int64],
    validation_embedding: Float64Array,
    validation_labels: npt.NDArray[np.int64],
    classes: int,
    seed: int,
    components: Sequence[int] = COMPONENTS,
) -> GaussianMixtureHead:
    """Fits mixtures of 2, 3, 4 and 6 components and keeps the number of the greatest validation macro AUC.

    It is the AUC after the softmax over generators, which for log likelihoods is the posterior. Of equal ones the
    fewest components are kept. Numbers above the size of the smallest class are not tried.

    Raises:
        CalibrationError: a class has fewer than two training images, or validation lacks a class.
    """
    standardisation = Standardisation.fit(embedding)
    standardised = standardisation.apply(embedding)
    smallest = int(np.bincount(labels, minlength=classes).min())
    candidates = [
        _fit_components(standardisation, standardised, labels, classes, count, seed)
        for count in components
        if count <= smallest
    ]
    if not candidates:
        raise CalibrationError(f"a generator has {smallest} training images: a mixture needs two or more of each")
    if len(candidates) == 1:
        return candidates[0]
    unused = np.empty((len(validation_embedding), 0))
    # Rounded, since equal areas summed in another order differ in the last digit.
    areas = [
        round(macro_auc_softmax(validation_labels, head.scores(validation_embedding, unused, unused)), 9)
        for head in candidates
    ]
    return candidates[areas.index(max(areas))]


def _fit_components(
    standardisation: Standardisation,
    standardised: Float64Array,
    labels: npt.NDArray[np.int64],
    classes: int,
    components: int,
    seed: int,
) -> GaussianMixtureHead:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    weights, means, variances = [], [], []
    for label in range(classes):
        mixture = GaussianMixture(
            components,
            covariance_type="diag",
            reg_covar=VARIANCE_ADDED,
            max_iter=ITERATIONS,
            init_params="kmeans",
            random_state=seed + label,
        )
        with warnings.catch_warnings():
            # Identical embeddings give k-means fewer clusters than asked: the mixture then has equal components.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(standardised[labels == label])
        weights.append(np.maximum(mixture.weights_, np.finfo(np.float32).tiny))
        means.append(mixture.means_)
        variances.append(shrink_variances(mixture.covariances_))
    return GaussianMixtureHead(standardisation, np.stack(weights), np.stack(means), np.stack(variances))
