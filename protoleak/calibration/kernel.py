"""The exact Gaussian kernel density, and its bandwidth by held-out likelihood. float64 throughout.

scikit-learn's `KernelDensity` is not used: its default tree is numerically wrong in 128 dimensions, by hundreds of
nats at small bandwidths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float64Array
from protoleak.errors import CalibrationError

# Bandwidths tried, in multiples of the median nearest-neighbour distance: 25 from 0.1 to 4, 17 % apart.
GRID_LOW, GRID_HIGH, GRID_STEPS = 0.1, 4.0, 25
GRID_EXTENSIONS = 20  # of a quarter of the grid each: four orders of magnitude on either side
CHUNK_ELEMENTS = 2**22  # 32 MB of squared distances at a time
SMALLEST_VALIDATION = 8  # below this, validation images are too few to choose a bandwidth with
FOLDS = 5

HeldOut = Sequence[tuple[Float64Array, Float64Array]]


@dataclass(frozen=True)
class Bandwidth:
    """A chosen bandwidth.

    Attributes:
        value: the kernel's standard deviation, in units of the vectors.
        in_neighbour_distances: the same in multiples of the median distance from a held-out vector to its nearest
            training vector.
    """

    value: float
    in_neighbour_distances: float


def log_kernel_density(points: Float64Array, references: Float64Array, bandwidth: float) -> Float64Array:
    """log (1/R) Σ_r N(point; reference_r, bandwidth² I), a log-sum-exp over all references.

    Args:
        points: float64 [N, D].
        references: float64 [R, D].
        bandwidth: standard deviation of the kernel, above 0.

    Returns:
        float64 [N].
    """
    return np.asarray(_log_density_tables(points, references, np.array([bandwidth]))[0])


def median_neighbour_distance(held_out: HeldOut) -> float:
    """The median distance from a held-out vector to its nearest training vector, over all pairs.

    Raises:
        CalibrationError: there is nothing held out, or half of it equals training vectors.
    """
    pairs = _not_empty(held_out)
    if not pairs:
        raise CalibrationError("no validation image to choose the density's bandwidth with: give more images")
    nearest = [
        np.sqrt(squared.min(axis=1))
        for points, references in pairs
        for _, squared in _squared_distances(points, references)
    ]
    unit = float(np.median(np.concatenate(nearest)))
    if unit == 0.0:
        raise CalibrationError(
            "half of the validation images have the embedding of a training image: no bandwidth can be chosen; "
            "look for copies of the same image in the data set"
        )
    return unit


def choose_bandwidth(held_out: HeldOut) -> Bandwidth:
    """The bandwidth under which held-out vectors are most likely.

    Args:
        held_out: pairs of held-out vectors float64 [N, D] and the training vectors float64 [R, D] that they are
            scored under; the log likelihoods of all pairs are added. A pair without held-out vectors counts nothing.

    Raises:
        CalibrationError: there is nothing held out, half of it equals training vectors, or no bandwidth is best.
    """
    unit = median_neighbour_distance(held_out)
    pairs = _not_empty(held_out)
    ratio = (GRID_HIGH / GRID_LOW) ** (1 / (GRID_STEPS - 1))
    exponents = np.arange(GRID_STEPS)
    likelihoods = _likelihoods(pairs, unit * GRID_LOW * ratio**exponents)
    for _ in range(GRID_EXTENSIONS):
        best = int(np.argmax(likelihoods))
        if 0 < best < len(exponents) - 1:
            multiple = GRID_LOW * ratio ** float(exponents[best])
            return Bandwidth(value=unit * multiple, in_neighbour_distances=multiple)
        added = np.arange(GRID_STEPS // 4)
        if best == 0:
            added = exponents[0] - 1 - added[::-1]
            more = _likelihoods(pairs, unit * GRID_LOW * ratio**added)
            exponents, likelihoods = np.concatenate([added, exponents]), np.concatenate([more, likelihoods])
        else:
            added = exponents[-1] + 1 + added
            more = _likelihoods(pairs, unit * GRID_LOW * ratio**added)
            exponents, likelihoods = np.concatenate([exponents, added]), np.concatenate([likelihoods, more])
    raise CalibrationError(
        f"no bandwidth between {GRID_LOW * ratio ** float(exponents[0]):.2g} and "
        f"{GRID_LOW * ratio ** float(exponents[-1]):.2g} nearest-neighbour distances is best: the validation images "
        "are copies of training images, or unlike all of them; check the splits"
    )


def folds(labels: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.bool_]]:
    """Masks [N] of up to FOLDS held-out parts, each with its share of every class; the same ones every time.

    Classes of one image are never held out: nothing of theirs would be left.
    """
    turn = np.full(len(labels), -1)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) > 1:
            turn[members] = np.arange(len(members)) % FOLDS
    for fold in range(FOLDS):
        if (turn == fold).any():
            yield turn == fold


def check_vectors(name: str, labels: npt.NDArray[np.int64] | None, *arrays: npt.NDArray[np.floating]) -> None:
    """Raises CalibrationError unless all arrays are finite, [N, D], of one shape, and N is the number of labels."""
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise CalibrationError(f"{name}: embedding and gate have shapes {sorted(shapes)}, both must be [N, D]")
    if labels is not None and labels.shape != (len(arrays[0]),):
        raise CalibrationError(f"{name}: {len(arrays[0])} embeddings but labels of shape {labels.shape}")
    for array in arrays:
        broken = ~np.isfinite(array).all(axis=1)
        if broken.any():
            raise CalibrationError(
                f"{name}: {int(broken.sum())} of {len(array)} embeddings hold NaN or infinity (the first is number "
                f"{int(np.argmax(broken))}): the model is damaged, or an image breaks it"
            )


def _not_empty(held_out: HeldOut) -> HeldOut:
    return [(points, references) for points, references in held_out if len(points) and len(references)]


def _likelihoods(pairs: HeldOut, bandwidths: Float64Array) -> Float64Array:
    total = np.zeros(len(bandwidths))
    for points, references in pairs:
        total += _log_density_tables(points, references, bandwidths).sum(axis=1)
    return total


def _squared_distances(points: Float64Array, references: Float64Array) -> Iterator[tuple[slice, Float64Array]]:
    """Exact squared distances [n, R] (differences, not the expanded square), for slices of the points."""
    from scipy.spatial.distance import cdist

    rows = max(1, CHUNK_ELEMENTS // len(references))
    for start in range(0, len(points), rows):
        chunk = slice(start, start + rows)
        yield chunk, cdist(points[chunk], references, "sqeuclidean")


def _log_density_tables(points: Float64Array, references: Float64Array, bandwidths: Float64Array) -> Float64Array:
    """Log densities [B, N] under each bandwidth; distances are computed once."""
    from scipy.special import logsumexp

    count, dimensions = references.shape
    result = np.empty((len(bandwidths), len(points)))
    for chunk, squared in _squared_distances(points, references):
        for index, bandwidth in enumerate(bandwidths):
            constant = 0.5 * dimensions * np.log(2 * np.pi * bandwidth**2) + np.log(count)
            result[index, chunk] = logsumexp(squared / (-2 * bandwidth**2), axis=1) - constant
    return result
