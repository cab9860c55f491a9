"""Clusters of embeddings: found, told stable from chance, and marked where they are like photographs."""

from __future__ import annotations

import numpy as np
import pytest

from protoleak.bundle.calibration import Calibration
from protoleak.discovery.clusters import find_clusters
from protoleak.enrolment.rows import Rows
from protoleak.metrics.classes import Classes

pytest.importorskip("sklearn", reason="its HDBSCAN clusters")
CLASSES = Classes.of(["ash", "camera"], "camera")


def blob(centre: float, count: int, seed: int, camera_margin: float, label: int = 0) -> Rows:
    """Images about one point of eight dimensions, with scores of this margin of the camera class."""
    random = np.random.default_rng(seed)
    embedding = (random.normal(size=(count, 8)) * 0.3 + centre).astype(np.float16)
    scores = np.column_stack([np.zeros(count), camera_margin + 0.1 * random.normal(size=count)])
    return Rows(
        embedding,
        np.ones_like(embedding),
        np.zeros((count, 0), np.int8),
        scores,
        np.zeros(count),
        np.full(count, label),
    )


def joined(*parts: Rows) -> Rows:
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])))


def calibration() -> Calibration:
    """Camera originals have margins from 0 to 2."""
    lists = np.linspace(-1, 0, 40)
    return Calibration(lists, (lists, lists), None, real_margins=np.linspace(0, 2, 200))


def test_each_generator_is_a_stable_cluster_and_the_largest_comes_first() -> None:
    rows = joined(blob(0, 30, 1, -3), blob(4, 40, 2, -3))
    found = find_clusters(rows, CLASSES, calibration(), None)
    assert [len(cluster.members) >= size for cluster, size in zip(found, (35, 25), strict=True)] == [True, True]
    assert set(found[0].members) <= set(range(30, 70))
    assert all(cluster.stability > 0.8 and not cluster.near_cameras for cluster in found)
    assert found[0].nearest == {"ash": 1.0}


def test_single_cluster_is_found_beside_the_recorded_images() -> None:
    record = joined(blob(4, 50, 3, 1.0, label=1), blob(-4, 50, 4, -3, label=0))
    rows = blob(0, 30, 1, -3)
    assert find_clusters(rows, CLASSES, calibration(), None) == []
    (found,) = find_clusters(rows, CLASSES, calibration(), record)
    assert len(found.members) >= 25
    assert found.stability > 0.8
    assert not found.near_cameras
    assert find_clusters(blob(-4, 30, 9, -3), CLASSES, calibration(), record) == []


def test_cluster_with_the_margins_of_photographs_is_marked() -> None:
    rows = joined(blob(0, 30, 1, -3), blob(4, 40, 2, 1.0))
    found = find_clusters(rows, CLASSES, calibration(), None)
    assert [cluster.near_cameras for cluster in found] == [True, False]


def test_cluster_beside_recorded_photographs_is_marked() -> None:
    record = joined(blob(4, 50, 3, 1.0, label=1), blob(-4, 50, 4, -3, label=0))
    rows = joined(blob(0, 30, 1, -3), blob(4, 40, 2, -3))
    found = find_clusters(rows, CLASSES, calibration(), record)
    assert found[0].neighbours_cameras == 1.0
    assert found[0].near_cameras


def test_scattered_images_make_no_stable_cluster() -> None:
    random = np.random.default_rng(0)
    embedding = random.uniform(-1, 1, (60, 8)).astype(np.float16)
    rows = Rows(
        embedding,
        np.ones_like(embedding),
        np.zeros((60, 0), np.int8),
        np.tile([0.0, -3.0], (60, 1)),
        np.zeros(60),
        np.zeros(60, np.int64),
    )
    assert all(cluster.stability < 0.6 for cluster in find_clusters(rows, CLASSES, calibration(), None))


def test_fewer_images_than_a_cluster_needs_make_none() -> None:
    assert find_clusters(blob(0, 9, 1, -3), CLASSES, calibration(), None) == []
