"""Metric heads: how well an embedding fits each generator. Frozen arrays with a float64 reference of their scores.

A class score is a head's own number; greater is better. Scores of different heads, and even of different images
under a distance head, are not comparable: probabilities come from `calibration.temperature` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array
from protoleak.calibration.covariance import class_means, within_class_eigen
from protoleak.calibration.kernel import (
    SMALLEST_VALIDATION,
    HeldOut,
    check_vectors,
    choose_bandwidth,
    folds,
    log_kernel_density,
)
from protoleak.calibration.mixture import fit_gaussian_mixture
from protoleak.calibration.scaling import Standardisation, shrink_variances
from protoleak.choices import HEAD_KINDS, HeadKind
from protoleak.errors import CalibrationError

FloatArray = npt.NDArray[np.floating]
LabelArray = npt.NDArray[np.int64]


class Head(Protocol):
    """What all heads are."""

    def scores(self, embedding: FloatArray, gate: FloatArray, prototype_score: FloatArray) -> Float64Array:
        """Class scores float64 [N, K] from embedding and gate [N, D] and the prototypes' class score [N, K]."""


@dataclass(frozen=True)
class PrototypeHead:
    """The trained prototypes' own class score: nothing is fitted."""

    def scores(self, embedding: FloatArray, gate: FloatArray, prototype_score: FloatArray) -> Float64Array:  # noqa: ARG002
        return prototype_score.astype(np.float64)


@dataclass(frozen=True)
class MahalanobisHead:
    """−Σ g (z − μ_k)² / s_k of the standardised embedding z, with gate g, class mean μ_k and shrunk variance s_k.

    Attributes:
        standardisation: over all training embeddings.
        means, inverse_variances: float64 [K, D].
    """

    standardisation: Standardisation
    means: Float64Array
    inverse_variances: Float64Array

    def scores(self, embedding: FloatArray, gate: FloatArray, prototype_score: FloatArray) -> Float64Array:  # noqa: ARG002
        standardised = self.standardisation.apply(embedding)
        weights = gate.astype(np.float64)
        columns = [
            -(weights * np.square(standardised - mean) * inverse).sum(axis=1)
            for mean, inverse in zip(self.means, self.inverse_variances, strict=True)
        ]
        return np.stack(columns, axis=1)


@dataclass(frozen=True)
class KernelDensityHead:
    """The exact Gaussian kernel log density of the embedding under each generator's training embeddings.

    Attributes:
        references: float64 [R, D], training embeddings, ungated, in order of their generator.
        counts: int64 [K], how many of them each generator has.
        bandwidth: one for all generators, of greatest held-out likelihood.
        bandwidth_in_neighbour_distances: the same in multiples of the median nearest-neighbour distance.
    """

    references: Float64Array
    counts: npt.NDArray[np.int64]
    bandwidth: float
    bandwidth_in_neighbour_distances: float

    def scores(self, embedding: FloatArray, gate: FloatArray, prototype_score: FloatArray) -> Float64Array:  # noqa: ARG002
        points = embedding.astype(np.float64)
        groups = np.split(self.references, np.cumsum(self.counts)[:-1])
        return np.stack([log_kernel_density(points, group, self.bandwidth) for group in groups], axis=1)


@dataclass(frozen=True)
class TiedGaussianHead:
    """The linear discriminant: log prior + log density of Gaussians that share a covariance S.

    score_k = (h − m)ᵀ S⁻¹ (μ_k − m) − ½ (μ_k − m)ᵀ S⁻¹ (μ_k − m) + log π_k, with m the mean of all training
    embeddings; what is the same for every generator is left out.

    Not bit-compatible with the published `llr_tied`, on purpose: that uses only the diagonal of S⁻¹ in its quadratic
    term and adds a bias that already counts it, so its scores are no likelihoods. S is Ledoit-Wolf shrunk here.

    Attributes:
        centre: float64 [D], m. Subtracting it first keeps float32 from cancelling a large common part.
        weights: float64 [K, D], S⁻¹ (μ_k − m).
        bias: float64 [K].
    """

    centre: Float64Array
    weights: Float64Array
    bias: Float64Array

    def scores(self, embedding: FloatArray, gate: FloatArray, prototype_score: FloatArray) -> Float64Array:  # noqa: ARG002
        return np.asarray((embedding.astype(np.float64) - self.centre) @ self.weights.T + self.bias)


def fit_head(
    kind: HeadKind,
    embedding: FloatArray,
    gate: FloatArray,
    labels: LabelArray,
    validation_embedding: FloatArray,
    validation_gate: FloatArray,
    validation_labels: LabelArray,
    generators: Sequence[str],
    seed: int = 0,
) -> Head:
    """Fits a head on training embeddings, its settings (components, bandwidth) on validation embeddings.

    Args:
        kind: one of HEAD_KINDS.
        embedding, gate: [N, D], of the training images.
        labels: int64 [N], indices of generators.
        validation_embedding, validation_gate, validation_labels: the same of images not trained on.
        generators: their names, for messages and for their number K.
        seed: of the mixtures' k-means starts.

    Raises:
        CalibrationError: unknown kind, values that are not finite, or too few training images of a generator.
    """
    if kind not in HEAD_KINDS:
        raise CalibrationError(f"there is no head {kind!r}: choose one of {', '.join(HEAD_KINDS)}")
    labels = np.asarray(labels, dtype=np.int64)
    validation_labels = np.asarray(validation_labels, dtype=np.int64)
    check_vectors("training images", labels, embedding, gate)
    check_vectors("validation images", validation_labels, validation_embedding, validation_gate)
    counts = np.bincount(labels, minlength=len(generators))
    needed = 1 if kind == "prototype" else 2
    if len(counts) > len(generators):
        raise CalibrationError(f"the label {len(counts) - 1} stands for no generator: there are {len(generators)}")
    if counts.min() < needed:
        few = ", ".join(f"{name} has {count}" for name, count in zip(generators, counts, strict=True) if count < needed)
        raise CalibrationError(f"the head {kind} needs {needed} training images or more per generator, but {few}")
    train = _Labelled(embedding.astype(np.float64), labels)
    validation = _Labelled(validation_embedding.astype(np.float64), validation_labels)
    fitters: dict[HeadKind, Callable[[], Head]] = {
        "prototype": PrototypeHead,
        "mahalanobis": lambda: _fit_mahalanobis(train, len(generators)),
        "gaussian_mixture": lambda: fit_gaussian_mixture(
            train.embedding, labels, validation.embedding, validation_labels, len(generators), seed
        ),
        "kernel_density": lambda: _fit_kernel_density(train, validation, len(generators)),
        "tied_gaussian": lambda: _fit_tied_gaussian(train, len(generators)),
    }
    return fitters[kind]()


@dataclass(frozen=True)
class _Labelled:
    embedding: Float64Array
    labels: LabelArray

    def of(self, label: int) -> Float64Array:
        return np.asarray(self.embedding[self.labels == label])


def _fit_mahalanobis(train: _Labelled, classes: int) -> MahalanobisHead:
    standardisation = Standardisation.fit(train.embedding)
    standardised = standardisation.apply(train.embedding)
    variances = np.stack([standardised[train.labels == label].var(axis=0) for label in range(classes)])
    return MahalanobisHead(
        standardisation=standardisation,
        means=class_means(standardised, train.labels, classes),
        inverse_variances=1.0 / shrink_variances(variances),
    )


def _fit_kernel_density(train: _Labelled, validation: _Labelled, classes: int) -> KernelDensityHead:
    held_out: HeldOut
    if len(validation.labels) >= SMALLEST_VALIDATION:
        held_out = [(validation.of(label), train.of(label)) for label in range(classes)]
    else:
        held_out = [
            (train.embedding[out & (train.labels == label)], train.embedding[~out & (train.labels == label)])
            for out in folds(train.labels)
            for label in range(classes)
        ]
    bandwidth = choose_bandwidth(held_out)
    return KernelDensityHead(
        references=np.concatenate([train.of(label) for label in range(classes)]),
        counts=np.bincount(train.labels, minlength=classes),
        bandwidth=bandwidth.value,
        bandwidth_in_neighbour_distances=bandwidth.in_neighbour_distances,
    )


def _fit_tied_gaussian(train: _Labelled, classes: int) -> TiedGaussianHead:
    centre = train.embedding.mean(axis=0)
    means = class_means(train.embedding, train.labels, classes) - centre
    values, eigenvectors = within_class_eigen(train.embedding, train.labels)
    weights = ((means @ eigenvectors) / values) @ eigenvectors.T
    priors = np.bincount(train.labels, minlength=classes) / len(train.labels)
    return TiedGaussianHead(centre, weights, np.log(priors) - 0.5 * (means * weights).sum(axis=1))
