"""Clusters of images by their traces, how stable they are, and whether they may be photographs.

Traces are clustered as `consensus` does it. Of a bundle without them, and where they hold no cluster, embeddings are:
HDBSCAN (Campello, Moulavi and Sander, 2013) finds clusters of any number and leaves lone images out. A cluster's
stability is that of Hennig (Cluster-wise assessment of cluster stability, 2007): the mean, over random subsets of the
images, of its greatest Jaccard similarity with a cluster that is found in the subset; below about 0.5 a cluster
should not be trusted.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float32Array, Float64Array
from protoleak.bundle.calibration import Calibration
from protoleak.discovery.consensus import LONE, agreed_clusters
from protoleak.enrolment.judging import p_values
from protoleak.enrolment.rows import Rows, together
from protoleak.errors import MissingExtra
from protoleak.metrics.classes import Classes
from protoleak.runtime import conformal

SMALLEST_CLUSTER = 10
COMPONENTS = 16  # principal ones; a network of a few classes spreads embeddings over no more
SUBSETS, SUBSET_SHARE = 20, 0.8
NEIGHBOURS = 5
# An image whose margin of the camera class is no lower than that of a tenth of the camera originals is like them.
CAMERA_P_VALUE = 0.1
# Shares of a cluster above which it may be one of photographs. Nine camera originals in ten have such a p-value, of
# unknown photographs six to nine, of generators' images one to six: a cluster that is half of photographs is above
# the first one.
LIKE_CAMERAS, BESIDE_CAMERAS = 1 / 4, 1 / 2


@dataclass(frozen=True)
class Cluster:
    """Images that belong together.

    Attributes:
        members: int64 [m], their positions, the most central first.
        stability: 0 to 1, see above.
        nearest: class → share of the members that score highest for it, by falling share.
        like_cameras: share of the members whose margin of the camera class is like a camera original's; None without
            such a class.
        neighbours_cameras: share of camera originals among the recorded images next to the members; None without a
            record or such a class.
        near_cameras: whether the cluster may be one of photographs.
    """

    members: npt.NDArray[np.int64]
    stability: float
    nearest: dict[str, float]
    like_cameras: float | None
    neighbours_cameras: float | None
    near_cameras: bool


def find_clusters(
    rows: Rows,
    classes: Classes,
    calibration: Calibration,
    record: Rows | None,
    smallest: int = SMALLEST_CLUSTER,
    seed: int = 0,
    traces: Float32Array | None = None,
    recorded_traces: Float32Array | None = None,
) -> list[Cluster]:
    """The clusters among some images, the largest first.

    Args:
        rows: the images, with the scores of a bundle.
        calibration: of that bundle.
        record: the images of its conformal lists; None for a bundle without.
        smallest: images that a cluster has at least.
        traces: float32 [n, d] of the images; None for a bundle without.
        recorded_traces: float32 [m, d], of the record's.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    if len(rows) < max(2, smallest):
        return []
    if traces is not None and (agreed := agreed_clusters(traces, smallest, seed, recorded_traces)).stability:
        points: Float64Array = traces.astype(np.float64)
        points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
        labels, stability = agreed.labels, agreed.stability
    else:
        points, labels, stability = _by_embedding(rows, record, smallest, seed)
    found = []
    for label in range(int(labels.max()) + 1):
        members = np.flatnonzero(labels == label)
        centre = points[members].mean(axis=0)
        members = members[np.argsort(np.square(points[members] - centre).sum(axis=1), kind="stable")]
        found.append(_describe(rows.chosen(members), members, stability[label], classes, calibration, record))
    return sorted(found, key=lambda cluster: -len(cluster.members))


def _by_embedding(
    rows: Rows, record: Rows | None, smallest: int, seed: int
) -> tuple[Float64Array, npt.NDArray[np.int64], list[float]]:
    """Points, labels and the stability of each cluster."""
    points, context = coordinates(rows), 0
    labels = cluster_labels(points, smallest)
    if labels.max() == LONE and record is not None and len(record):
        # One cluster alone is none to HDBSCAN: it needs something that it stands out from.
        points, context = coordinates(together([rows, record])), len(record)
        labels = _own_labels(points, context, smallest)
    return points, labels, _stability(points, context, labels, smallest, seed)


def coordinates(rows: Rows) -> Float64Array:
    """Embeddings as distances of the class score see them, gated on average, in their principal components."""
    points = rows.embedding.astype(np.float64) * np.sqrt(rows.gate.astype(np.float64).mean(axis=0))
    centred = points - points.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    return np.asarray(centred @ directions[:COMPONENTS].T)


def cluster_labels(points: Float64Array, smallest: int) -> npt.NDArray[np.int64]:
    """The cluster of each of the points [n, d], int64 [n]; LONE for none."""
    try:
        from sklearn.cluster import HDBSCAN
    except ImportError:
        raise MissingExtra("scikit-learn", "discover") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of parameters that newer versions default otherwise
        found = HDBSCAN(min_cluster_size=smallest, min_samples=min(5, smallest)).fit(points)
    return np.asarray(found.labels_, np.int64)


def _own_labels(points: Float64Array, context: int, smallest: int) -> npt.NDArray[np.int64]:
    """As `cluster_labels`, for all but the last `context` points; clusters that hold more of those than of the others
    are none."""
    every = cluster_labels(points, smallest)
    own = every[: len(points) - context]
    labels, number = np.full(len(own), LONE), 0
    for label in range(int(every.max()) + 1):
        members = own == label
        if 2 * members.sum() > (every == label).sum() and members.sum() >= smallest:
            labels[members], number = number, number + 1
    return labels


def _stability(
    points: Float64Array, context: int, labels: npt.NDArray[np.int64], smallest: int, seed: int
) -> list[float]:
    """Of each cluster, see above.

    Args:
        points: of the images, and behind them those of `context` recorded ones, which all subsets keep.
    """
    random = np.random.default_rng(seed)
    count, images = int(labels.max()) + 1, len(labels)
    similarities: list[list[float]] = [[] for _ in range(count)]
    fewer = max(2, round(smallest * SUBSET_SHARE))
    for _ in range(SUBSETS if count else 0):
        size = min(images, max(fewer, round(SUBSET_SHARE * images)))
        subset = np.sort(random.choice(images, size, replace=False))
        kept = np.concatenate([subset, np.arange(images, images + context)])
        again = _own_labels(points[kept], context, fewer)
        for label in range(count):
            own = labels[subset] == label
            others = [again == other for other in range(int(again.max()) + 1)]
            overlaps = [float((own & other).sum() / (own | other).sum()) for other in others]
            similarities[label].append(max(overlaps, default=0.0))
    return [float(np.mean(of)) for of in similarities]


def _describe(
    rows: Rows,
    members: npt.NDArray[np.int64],
    stability: float,
    classes: Classes,
    calibration: Calibration,
    record: Rows | None,
) -> Cluster:
    names, counts = np.unique(rows.scores.argmax(axis=1), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    nearest = {classes.names[int(names[index])]: float(counts[index] / len(rows)) for index in order}
    like = neighbours = None
    real = classes.real
    if real is not None and calibration.real_margins is not None:
        margins = conformal.real_margin(rows.scores, real)
        like = float((p_values(calibration.real_margins, margins) > CAMERA_P_VALUE).mean())
    if real is not None and record is not None:
        neighbours = _cameras_beside(rows, record, real)
    near = (like or 0.0) > LIKE_CAMERAS or (neighbours or 0.0) > BESIDE_CAMERAS
    return Cluster(members, stability, nearest, like, neighbours, near)


def _cameras_beside(rows: Rows, record: Rows, real: int) -> float:
    """Share of camera originals among the NEIGHBOURS recorded images nearest to each of these."""
    scale = np.sqrt(record.gate.astype(np.float64).mean(axis=0))
    known = record.embedding.astype(np.float64) * scale
    own = rows.embedding.astype(np.float64) * scale
    cameras = record.labels == real
    shares = []
    for point in own:
        nearest = np.argsort(np.square(known - point).sum(axis=1), kind="stable")[:NEIGHBOURS]
        shares.append(cameras[nearest].mean())
    return float(np.mean(shares))
