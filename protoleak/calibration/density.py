"""The open-set density: how likely is an image's density vector under those of the training images?

Where there are auxiliary generators, it is contrasted with theirs: log f_known(v) − c·log f_auxiliary(v), with one
kernel for both. At c = 1 that is the likelihood ratio of "known" and "one of the auxiliary generators", at c = 0 the
density alone, which is against anything at all; docs/decisions/0012-contrast.md says why it lies between.

Two spaces for the density vector v, from embedding h and gate g:

    gated       v = h·g, as published
    whitened    v = W (h·g / |h·g| − mean), with W² the inverse of the training images' shrunk within-class covariance

One rule holds for every image. (The published evaluation gates known images and leaves unknown ones ungated, so that
the transform depends on the verdict.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array
from protoleak.calibration.covariance import within_class_eigen
from protoleak.calibration.kernel import (
    SMALLEST_VALIDATION,
    Bandwidth,
    check_vectors,
    choose_bandwidth,
    folds,
    log_kernel_density,
    median_neighbour_distance,
)
from protoleak.choices import KernelSpace
from protoleak.errors import CalibrationError

SMALLEST_NORM = 1e-12  # as torch.nn.functional.normalize


@dataclass(frozen=True)
class DensityModel:
    """A fitted density: constants of a bundle.

    Attributes:
        space: "whitened" or "gated".
        mean: float64 [D], of the normalised training vectors; zeros when gated.
        whitening: float64 [D, D], symmetric; the identity when gated.
        references: float64 [R, D], the density vectors of the training images.
        bandwidth: standard deviation of the kernel, in units of the density vector.
        bandwidth_in_neighbour_distances: the same in multiples of the median distance from a held-out image to its
            nearest training image.
        auxiliary: float64 [A, D], the density vectors of auxiliary generators' images; None without a contrast.
        contrast: c, how much their log density counts; 0 without a contrast.
    """

    space: KernelSpace
    mean: Float64Array
    whitening: Float64Array
    references: Float64Array
    bandwidth: float
    bandwidth_in_neighbour_distances: float
    auxiliary: Float64Array | None = None
    contrast: float = 0.0

    def vector(self, embedding: npt.NDArray[np.floating], gate: npt.NDArray[np.floating]) -> Float64Array:
        """Density vectors float64 [N, D] of embeddings and gates [N, D].

        Their product is taken in their own type, as the network's graph and the published code do.
        """
        if self.space == "gated":
            return (embedding * gate).astype(np.float64)
        return np.asarray((_normalise(embedding, gate) - self.mean) @ self.whitening)

    def log_density(self, embedding: npt.NDArray[np.floating], gate: npt.NDArray[np.floating]) -> Float64Array:
        """Exact log densities in nats, float64 [N], of embeddings and gates [N, D]; contrasted where c is above 0."""
        vectors = self.vector(embedding, gate)
        known = log_kernel_density(vectors, self.references, self.bandwidth)
        if self.auxiliary is None:
            return known
        return known - self.contrast * log_kernel_density(vectors, self.auxiliary, self.bandwidth)


def fit_density(
    embedding: npt.NDArray[np.floating],
    gate: npt.NDArray[np.floating],
    labels: npt.NDArray[np.int64],
    validation_embedding: npt.NDArray[np.floating],
    validation_gate: npt.NDArray[np.floating],
    space: KernelSpace = "whitened",
    bandwidth: float | None = None,
    auxiliary: tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]] | None = None,
    contrast: float = 0.0,
) -> DensityModel:
    """Fits the density on training images, and its bandwidth on validation images.

    The bandwidth is the one of greatest held-out likelihood on a grid in multiples of the median nearest-neighbour
    distance; the grid is extended while the best lies at its edge. With fewer than eight validation images, training
    images are held out in five folds instead (with the whitening fitted anew without them).

    Args:
        embedding, gate: [N, D], of the training images.
        labels: int64 [N], their generators.
        validation_embedding, validation_gate: [V, D], of images that the model was not trained on.
        space: "whitened", or "gated" as published.
        bandwidth: to fix it, in multiples of the median nearest-neighbour distance; None to choose it.
        auxiliary: embeddings and gates [A, D] of auxiliary generators' images, for the contrast; or None.
        contrast: c, how much their log density counts, from 0 to 1; 0 for none.

    Raises:
        CalibrationError: values that are not finite, no class with two training images (whitened), vectors that are
            all the same, a contrast out of range, or one above 0 and nothing to contrast with.
    """
    labels = np.asarray(labels, dtype=np.int64)
    check_vectors("training images", labels, embedding, gate)
    check_vectors("validation images", None, validation_embedding, validation_gate)
    if len(labels) < 2:
        raise CalibrationError(f"{len(labels)} training image: a density needs at least two")
    if space == "whitened" and np.bincount(labels).max() < 2:
        raise CalibrationError("no class has two training images: there is nothing to whiten by; give more images")
    if bandwidth is not None and not bandwidth > 0:
        raise CalibrationError(f"bandwidth {bandwidth:g}: give a number above 0, in nearest-neighbour distances")
    _check_contrast(contrast, auxiliary)
    mean, whitening = _fit_space(embedding, gate, labels, space)
    unscaled = DensityModel(space, mean, whitening, np.empty((0, embedding.shape[1])), 1.0, 1.0)
    references = unscaled.vector(embedding, gate)
    if len(validation_embedding) >= SMALLEST_VALIDATION:
        held_out = [(unscaled.vector(validation_embedding, validation_gate), references)]
    else:
        held_out = [_hold_out(unscaled, embedding, gate, labels, out) for out in folds(labels)]
    if bandwidth is None:
        chosen = choose_bandwidth(held_out)
    else:
        chosen = Bandwidth(bandwidth * median_neighbour_distance(held_out), bandwidth)
    fitted = DensityModel(space, mean, whitening, references, chosen.value, chosen.in_neighbour_distances)
    if auxiliary is None or contrast == 0:
        return fitted
    return replace(fitted, auxiliary=unscaled.vector(*auxiliary), contrast=contrast)


def _check_contrast(
    contrast: float, auxiliary: tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]] | None
) -> None:
    if not 0 <= contrast <= 1:
        raise CalibrationError(f"contrast {contrast:g}: give a number from 0 (none) to 1")
    if auxiliary is not None:
        check_vectors("images of auxiliary generators", None, *auxiliary)
    if contrast > 0 and (auxiliary is None or not len(auxiliary[0])):
        raise CalibrationError(f"contrast {contrast:g}: there is no image of an auxiliary generator to contrast with")


def _fit_space(
    embedding: npt.NDArray[np.floating],
    gate: npt.NDArray[np.floating],
    labels: npt.NDArray[np.int64],
    space: KernelSpace,
) -> tuple[Float64Array, Float64Array]:
    """Mean [D] and whitening [D, D]."""
    dimensions = embedding.shape[1]
    if space == "gated":
        return np.zeros(dimensions), np.eye(dimensions)
    normalised = _normalise(embedding, gate)
    values, eigenvectors = within_class_eigen(normalised, labels)
    return normalised.mean(axis=0), (eigenvectors / np.sqrt(values)) @ eigenvectors.T


def _hold_out(
    whole: DensityModel,
    embedding: npt.NDArray[np.floating],
    gate: npt.NDArray[np.floating],
    labels: npt.NDArray[np.int64],
    out: npt.NDArray[np.bool_],
) -> tuple[Float64Array, Float64Array]:
    """Density vectors of the images held out and of the others, in the space that the others define.

    Where they cannot, because no class keeps two images, in the space that all define.
    """
    model = whole
    if np.bincount(labels[~out]).max() > 1:
        mean, whitening = _fit_space(embedding[~out], gate[~out], labels[~out], whole.space)
        model = replace(whole, mean=mean, whitening=whitening)
    vectors = model.vector(embedding, gate)
    return vectors[out], vectors[~out]


def _normalise(embedding: npt.NDArray[np.floating], gate: npt.NDArray[np.floating]) -> Float64Array:
    gated = (embedding * gate).astype(np.float64)
    return np.asarray(gated / np.maximum(np.linalg.norm(gated, axis=1, keepdims=True), SMALLEST_NORM))
