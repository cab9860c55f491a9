"""Clusters that many clusterings agree on, of points that differ by direction.

Clusters of traces are neither round nor equally dense, and photographs, half of all that is unknown, lie about them as
a cloud: one clustering joins two generators, another one splits a third, and which it is depends on its settings. So
there are many, over random parts of the points, in spaces of several numbers of principal components, of cosines and of
shared nearest neighbours (Jarvis and Patrick, 1973): HDBSCAN, whose finest clusters are taken (Campello, Moulavi and
Sander, 2013). How often two points are together in those that hold both is their similarity, and its average linkage
gives the clusters (evidence accumulation: Fred and Jain, "Combining multiple clusterings using evidence accumulation",
2005). Settings were chosen on generators and cameras that the figures in docs/decisions/0034-discovery.md are not of.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float32Array, Float64Array
from protoleak.errors import MissingExtra

LONE = -1
COMPONENTS = (6, 8, 10, 12)
NEIGHBOURHOODS = (0, 15, 20)  # shared nearest neighbours among so many; 0 for cosines
PARTS, PART = 3, 0.9  # random parts of the points, for each of the spaces, and their share of all
MINIMUM_SAMPLES = 5
TOGETHER = 0.25  # least average share of clusterings in which the points of a cluster are together
MOST_BESIDE = 200  # of the background
BELONGING = 0.4  # least average share of those in which a point is together with those of its cluster, else it is lone


@dataclass(frozen=True)
class Consensus:
    """The clusters of n points.

    Attributes:
        labels: int64 [n], LONE for none.
        stability: of each cluster the mean, over the clusterings, of its greatest Jaccard similarity with a cluster
            there (Hennig, "Cluster-wise assessment of cluster stability", 2007).
    """

    labels: npt.NDArray[np.int64]
    stability: list[float]


def agreed_clusters(
    points: Float32Array, smallest: int, seed: int = 0, background: Float32Array | None = None
) -> Consensus:
    """The clusters of points float32 [n, d].

    Args:
        smallest: points that a cluster has at least.
        background: float32 [b, d], points of other kinds, that are known. Where fewer than half of the points are in
            clusters, they are clustered beside those: what is all of one kind, or nearly so, shows no directions of
            its own unless there is something that it differs from.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    nothing = points[:0]
    alone = _agreed(points, nothing, smallest, seed)
    if background is None or not len(background) or 2 * np.count_nonzero(alone.labels != LONE) >= len(points):
        return alone
    known = background[np.linspace(0, len(background) - 1, min(len(background), MOST_BESIDE)).round().astype(np.int64)]
    beside = _agreed(points, known, smallest, seed)
    return max(alone, beside, key=lambda found: np.count_nonzero(found.labels != LONE))


def _agreed(points: Float32Array, background: Float32Array, smallest: int, seed: int) -> Consensus:
    try:
        from sklearn.cluster import AgglomerativeClustering
    except ImportError:
        raise MissingExtra("scikit-learn", "discover") from None
    together = np.zeros((len(points), len(points)), np.float32)
    held = np.zeros_like(together)
    clusterings = list(_clusterings(points, background, smallest, seed))
    for labels, part in clusterings:
        same = (labels[:, None] == labels[None]) & (labels[:, None] != LONE)
        together[np.ix_(part, part)] += same
        held[np.ix_(part, part)] += 1
    distance = 1 - together / np.maximum(held, 1)
    np.fill_diagonal(distance, 0)
    joined = AgglomerativeClustering(None, metric="precomputed", linkage="average", distance_threshold=1 - TOGETHER)
    found = joined.fit(distance).labels_
    labels, count = np.full(len(points), LONE), 0
    for label in range(int(found.max()) + 1):
        members = np.flatnonzero(found == label)
        members = members[(1 - distance[np.ix_(members, members)]).mean(axis=1) >= BELONGING]
        if len(members) >= smallest:
            labels[members], count = count, count + 1
    return Consensus(labels, [_stability(labels == label, clusterings) for label in range(count)])


def _principal(points: Float32Array) -> Float64Array:
    """Points [n, d] by their directions from the middle, in their principal components: float64 [n, ≤ 12]."""
    centred = points.astype(np.float64) - points.mean(axis=0)
    directed = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    directed -= directed.mean(axis=0)
    # Of few points in many dimensions: their inner products are the smaller matrix.
    values, vectors = np.linalg.eigh(directed @ directed.T)
    largest = np.argsort(-values)[: max(COMPONENTS)]
    return np.asarray(vectors[:, largest] * np.sqrt(np.maximum(values[largest], 0)))


def _clusterings(
    points: Float32Array, background: Float32Array, smallest: int, seed: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Labels of a part of the points, clustered beside the background, and their positions."""
    random = np.random.default_rng(seed)
    for _ in range(PARTS):
        size = max(min(len(points), smallest + 1), round(PART * len(points)))
        part = np.sort(random.choice(len(points), size, replace=False))
        principal = _principal(np.concatenate([points[part], background]))
        for count in COMPONENTS:
            own = principal[:, :count]
            own = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12)
            for neighbours in NEIGHBOURHOODS:
                yield _hdbscan(own, neighbours, smallest)[: len(part)], part


def _hdbscan(points: Float64Array, neighbours: int, smallest: int) -> npt.NDArray[np.int64]:
    from sklearn.cluster import HDBSCAN

    chosen: dict[str, Any] = {"min_cluster_size": smallest, "min_samples": min(MINIMUM_SAMPLES, smallest)}
    chosen |= {"cluster_selection_method": "leaf"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of parameters that newer versions default otherwise
        if neighbours == 0:
            return np.asarray(HDBSCAN(**chosen).fit(points).labels_, np.int64)
        apart = _unshared(points, min(neighbours, len(points) - 1))
        return np.asarray(HDBSCAN(**chosen, metric="precomputed").fit(apart).labels_, np.int64)


def _unshared(points: Float64Array, neighbours: int) -> Float64Array:
    """float64 [n, n]: one less the Jaccard similarity of the neighbourhoods of two points, themselves included."""
    similarity = points @ points.T
    np.fill_diagonal(similarity, np.inf)
    nearest = np.argpartition(-similarity, neighbours, axis=1)[:, : neighbours + 1]
    belongs = np.zeros(similarity.shape, np.float32)
    np.put_along_axis(belongs, nearest, 1, axis=1)
    shared = belongs @ belongs.T
    return np.asarray(1 - shared / (2 * (neighbours + 1) - shared), np.float64)


def _stability(
    members: npt.NDArray[np.bool_], clusterings: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]
) -> float:
    similarities = []
    for labels, part in clusterings:
        own = members[part]
        others = [labels == label for label in range(int(labels.max()) + 1)]
        overlaps = [float((own & other).sum() / (own | other).sum()) for other in others]
        similarities.append(max(overlaps, default=0.0))
    return float(np.mean(similarities))
