"""Clusters that many clusterings agree on: found among a cloud, by direction alone, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from protoleak.arrays import Float32Array
from protoleak.discovery.consensus import LONE, agreed_clusters

pytest.importorskip("sklearn", reason="its HDBSCAN clusters")
DIMENSIONS = 40


def stream(generators: int, each: int, scattered: int, seed: int) -> tuple[Float32Array, np.ndarray]:
    """Images of generators, each about a direction of its own, and others about none; and what each is of."""
    random = np.random.default_rng(seed)
    directions = np.linalg.qr(random.normal(size=(DIMENSIONS, DIMENSIONS)))[0][:generators]
    parts = [6 * one + random.normal(size=(each, DIMENSIONS)) for one in directions]
    points = np.concatenate([*parts, random.normal(size=(scattered, DIMENSIONS))])
    # Lengths say nothing: photographs of one camera may be ten times as unusual as those of another.
    points *= random.uniform(0.5, 5, (len(points), 1))
    kinds = np.repeat([*range(generators), LONE], [*[each] * generators, scattered])
    return points.astype(np.float32), kinds


def test_generators_are_found_among_as_many_other_images() -> None:
    points, kinds = stream(3, 30, 90, 1)
    found = agreed_clusters(points, 10)
    assert len(found.stability) >= 3
    clusters = [found.labels == one for one in range(len(found.stability))]
    largest = [max(int((one & (kinds == kind)).sum()) for one in clusters) for kind in range(3)]
    assert min(largest) >= 20
    clustered = found.labels != LONE
    own = [int(np.bincount(kinds[one] + 1).max()) for one in clusters]
    assert sum(own) / clustered.sum() >= 0.9
    assert max(found.stability) <= 1


def test_the_same_images_give_the_same_clusters() -> None:
    points, _ = stream(2, 20, 20, 2)
    one, again = agreed_clusters(points, 10), agreed_clusters(points, 10)
    np.testing.assert_array_equal(one.labels, again.labels)
    assert one.stability == again.stability


def test_scattered_images_are_no_stable_cluster() -> None:
    points, _ = stream(0, 0, 80, 3)
    assert all(stability < 0.6 for stability in agreed_clusters(points, 10).stability)


@pytest.mark.parametrize("count", [10, 12, 25])
def test_few_images_are_no_failure(count: int) -> None:
    points, _ = stream(1, count, 0, 4)
    found = agreed_clusters(points, 10)
    assert found.labels.shape == (count,)
    assert all(np.count_nonzero(found.labels == one) >= 10 for one in range(len(found.stability)))


def test_images_without_any_difference_are_no_failure() -> None:
    assert agreed_clusters(np.ones((30, DIMENSIONS), np.float32), 10).labels.shape == (30,)


def test_images_of_one_generator_alone_are_found_beside_what_is_known() -> None:
    random = np.random.default_rng(5)
    directions = np.linalg.qr(random.normal(size=(DIMENSIONS, DIMENSIONS)))[0][:4]
    known = np.concatenate([6 * one + random.normal(size=(30, DIMENSIONS)) for one in directions[:3]])
    lone = 6 * directions[3] + random.normal(size=(40, DIMENSIONS))
    points, background = lone.astype(np.float32), known.astype(np.float32)
    assert np.count_nonzero(agreed_clusters(points, 10).labels != LONE) < 20
    found = agreed_clusters(points, 10, background=background)
    assert np.bincount(found.labels[found.labels != LONE]).max() >= 30
    assert len(found.labels) == len(points)


def test_background_changes_nothing_where_most_images_are_in_clusters() -> None:
    points, _ = stream(3, 20, 20, 6)
    known, _ = stream(2, 20, 0, 7)
    one, again = agreed_clusters(points, 10), agreed_clusters(points, 10, background=known)
    assert np.count_nonzero(one.labels != LONE) >= len(points) / 2
    np.testing.assert_array_equal(one.labels, again.labels)
