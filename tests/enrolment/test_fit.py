"""The discriminant against its definition, and the promise that the offset keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protoleak.bundle.class_statistics import STEPS, Discriminant
from protoleak.enrolment.discriminant import RIDGE, class_means, fit_discriminant
from protoleak.enrolment.fit import BETWEEN, SPARED, fit
from protoleak.enrolment.judging import judged
from tests.enrolment.made import NAMES, REAL, World, rows_in, setting_of

NEW = len(NAMES)


def test_discriminant_is_the_difference_of_log_likelihoods_of_normal_distributions() -> None:
    world = World.of(1)
    setting = setting_of(world, world.drawn((40, 40, 40, 0)))
    statistics, means = setting.statistics, class_means(setting.statistics, ())
    features = rows_in(world, *world.drawn((0, 0, 0, 30)), setting).features
    found = fit_discriminant(features, statistics, means)
    points = features / STEPS
    mean, images = points.mean(axis=0), statistics.images + 30
    factors = statistics.factors.astype(float)
    covariance = statistics.images * factors.T @ factors + (points - mean).T @ (points - mean)
    inverse = np.linalg.inv(covariance / images + (RIDGE + statistics.remainder) * np.eye(len(mean)))
    for point in setting.rows.features[::10] / STEPS:
        ratios = found.weights @ point - found.bias
        for rival, ratio in zip(means, ratios, strict=True):
            near, far = point - mean, point - rival
            assert ratio == pytest.approx((far @ inverse @ far - near @ inverse @ near) / 2, abs=1e-3)


def test_newcomer_is_named_and_the_others_keep_their_names() -> None:
    world = World.of(2)
    setting = setting_of(world, world.drawn((90, 60, 60, 0)))
    fitted = fit(rows_in(world, *world.drawn((0, 0, 0, 40)), setting), setting, "new")
    assert fitted.within_limits
    fresh = rows_in(world, *world.drawn((200, 200, 200, 200)), setting)
    before = judged(fresh, setting.classes, setting.calibration, setting.alpha)
    classes = setting.classes.with_one_more("new")
    after = judged(fitted.extended(fresh, setting.constants), classes, fitted.calibration, setting.alpha)
    assert (after[fresh.labels == NEW] == NEW).mean() > 0.6
    for label in range(NEW):
        own = fresh.labels == label
        assert (after[own] == label).sum() >= (before[own] == label).sum() - 6


@settings(deadline=None, max_examples=6)
@given(seed=st.integers(0, 2**32 - 1), apart=st.sampled_from([0.3, 0.6, 1.0]), originals=st.integers(3, 7))
def test_of_exchangeable_camera_originals_at_most_one_is_accused_of_the_newcomer_by_an_offset_chosen_on_the_others(
    seed: int, apart: float, originals: int
) -> None:
    """Which is a probability of at most 1/(n + 1), whatever the distribution."""
    world = World.of(seed, apart)
    points, labels = world.drawn((originals + 1, 30, 30, 0))
    newcomers = world.drawn((0, 0, 0, 20))
    state = world.random.bit_generator.state
    found = 0
    for left_out in range(originals + 1):
        world.random.bit_generator.state = state  # the same training and list of margins each time
        rest = np.arange(len(points)) != left_out
        setting = setting_of(world, (points[rest], labels[rest]))
        fitted = fit(rows_in(world, *newcomers, setting), setting, "new")
        one = fitted.extended(rows_in(world, points[[left_out]], labels[[left_out]], setting), setting.constants)
        said = judged(one, setting.classes.with_one_more("new"), fitted.calibration, setting.alpha)
        found += bool(fitted.within_limits and said[0] == NEW)
        assert labels[left_out] == REAL
    assert found <= 1


def test_class_that_is_gone_is_no_rival_any_more_and_those_behind_it_move_up() -> None:
    weights = np.arange(8, dtype=np.float32).reshape(4, 2)
    bias, rivals = np.arange(4, dtype=np.float32), np.arange(4, dtype=np.int32)
    before = Discriminant(np.zeros(2, np.float32), weights, bias, rivals, 1.0)
    after = before.without(2)
    assert after.rivals.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(after.weights, weights[[0, 1, 3]])
    features = np.array([[3, -5]], np.int8)
    fewer = replace(before, weights=weights[[0, 1, 3]], bias=bias[[0, 1, 3]], rivals=rivals[:3])
    assert after.log_odds(features) == fewer.log_odds(features)


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_even_odds_lie_far_from_the_nearest_camera_original_unless_too_many_would_stay_unnamed(seed: int) -> None:
    world = World.of(seed, 1.0)
    setting = setting_of(world, world.drawn((90, 60, 60, 0)))
    fitted = fit(rows_in(world, *world.drawn((0, 0, 0, 40)), setting), setting, "new")
    assert fitted.within_limits
    cameras = setting.rows.features[setting.rows.labels == REAL]
    nearest = float((fitted.discriminant.log_odds(cameras) + fitted.offset).max())
    own = fitted.own_log_odds
    assert (own > 0).mean() >= 1 - SPARED - 0.05
    strict = -nearest >= BETWEEN * (own.mean() - nearest) - 1e-9
    assert strict or (own > 0).mean() <= 0.9
