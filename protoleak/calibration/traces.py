"""The whitening of latents' statistics that generators nobody knows are told apart by; see `bundle.traces`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float32Array
from protoleak.bundle.traces import TraceSpace

RIDGE = 0.05  # of the average within-class variance: directions that hold less of it are not blown up
DIRECTIONS = 256  # those of most variance; what the others hold is levelled, and the file has one megabyte
SMALLEST_DEVIATION = 1e-4


def fit_trace_space(statistics: Float32Array, labels: npt.NDArray[np.int64], looks: int) -> TraceSpace:
    """From statistics float32 [n, L·F] of pictures in L looks, with their classes int64 [n], which count alike."""
    of_looks = statistics.reshape(len(statistics), looks, -1).astype(np.float64)
    weights = np.zeros(len(labels))
    classes = np.unique(labels)
    for label in classes:
        weights[labels == label] = 1 / (len(classes) * np.count_nonzero(labels == label))
    found = [_whitening(of_looks[:, look], labels, weights) for look in range(looks)]
    mean, inverse, directions, stretch, rest = (np.stack(parts) for parts in zip(*found, strict=True))
    return TraceSpace(
        mean.astype(np.float32),
        inverse.astype(np.float32),
        directions.astype(np.float16),
        stretch.astype(np.float32),
        rest.astype(np.float32),
    )


def _whitening(
    statistics: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], ...]:
    """Of one look, in the order of the fields of `TraceSpace`."""
    centred = statistics.copy()
    for label in np.unique(labels):
        centred[labels == label] -= statistics[labels == label].mean(axis=0)
    inverse = 1 / np.maximum(np.sqrt(weights @ np.square(centred)), SMALLEST_DEVIATION)
    scaled = centred * inverse
    values, vectors = np.linalg.eigh((weights[:, None] * scaled).T @ scaled)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    count = min(DIRECTIONS, len(values))
    level = values[count:].mean() if count < len(values) else 0.0
    return (
        weights @ statistics,
        inverse,
        vectors[:, :count],
        1 / np.sqrt(values[:count] + RIDGE),
        np.array(1 / np.sqrt(level + RIDGE)),
    )
