import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protoleak.bundle.calibration import Calibration
from protoleak.errors import CalibrationError
from protoleak.runtime.conformal import (
    acquittal_level,
    false_rejection_bound,
    generated_p_value,
    group,
    p_value,
    promise,
    rejecting_ranks,
    smallest_alpha,
    track_accusation_level,
)

# Few distinct values, so that ties are common, mixed with any finite value.
SCORES = st.one_of(st.integers(-3, 3).map(float), st.floats(allow_nan=False, allow_infinity=False))
ALPHAS = st.floats(0.001, 0.999)


def _calibration(overall: int, *own: int) -> Calibration:
    return Calibration(
        overall=np.arange(overall, dtype=np.float64),
        per_generator=tuple(np.arange(count, dtype=np.float64) for count in own),
        temperature=None,
    )


@given(st.lists(SCORES, min_size=2, max_size=60), ALPHAS)
def test_at_most_floor_alpha_times_n_plus_one_of_exchangeable_points_are_rejected(
    scores: list[float], alpha: float
) -> None:
    # Exchangeable data: each of the n + 1 points is equally likely to be the new one. Leaving out each in turn
    # enumerates that probability exactly, so the promise is an integer inequality with no tolerance.
    rejected = 0
    for index, score in enumerate(scores):
        others = np.sort(np.array(scores[:index] + scores[index + 1 :]))
        rejected += p_value(others, score) <= alpha
    assert rejected <= rejecting_ranks(len(scores) - 1, alpha)
    assert rejected <= alpha * len(scores) * (1 + 1e-12)


@given(st.lists(SCORES, min_size=2, max_size=60, unique=True), ALPHAS)
def test_without_ties_exactly_floor_alpha_times_n_plus_one_points_are_rejected(
    scores: list[float], alpha: float
) -> None:
    rejected = sum(
        p_value(np.sort(np.array(scores[:index] + scores[index + 1 :])), score) <= alpha
        for index, score in enumerate(scores)
    )
    assert rejected == rejecting_ranks(len(scores) - 1, alpha)


@given(st.lists(SCORES, max_size=40), SCORES)
def test_the_p_value_equals_the_brute_force_count(calibration: list[float], score: float) -> None:
    expected = (1 + sum(value <= score for value in calibration)) / (len(calibration) + 1)
    assert p_value(np.sort(np.array(calibration, dtype=np.float64)), score) == expected


def test_an_image_below_every_calibration_image_has_the_smallest_p_value() -> None:
    assert p_value(np.array([-5.0, -1.0, 2.0]), -math.inf) == smallest_alpha(3) == 0.25


def test_a_nan_log_density_has_no_p_value() -> None:
    with pytest.raises(CalibrationError, match="NaN"):
        p_value(np.array([0.0, 1.0]), math.nan)


@given(st.lists(SCORES, min_size=2, max_size=60), ALPHAS)
def test_at_most_a_share_alpha_of_exchangeable_generated_images_is_more_camera_like_than_the_others(
    margins: list[float], alpha: float
) -> None:
    # As for log densities: each of the n + 1 is left out in turn, which enumerates the probability exactly. Where
    # α is below 1/(n + 1) the level is that, and the promise with it.
    level = acquittal_level(len(margins) - 1, alpha)
    called_real = 0
    for index, margin in enumerate(margins):
        others = np.sort(np.array(margins[:index] + margins[index + 1 :]))
        called_real += generated_p_value(others, margin) <= level
    assert called_real <= level * len(margins) * (1 + 1e-12)


@given(st.lists(SCORES, max_size=40), SCORES)
def test_the_generated_p_value_equals_the_brute_force_count(margins: list[float], margin: float) -> None:
    expected = (1 + sum(value >= margin for value in margins)) / (len(margins) + 1)
    assert generated_p_value(np.sort(np.array(margins, dtype=np.float64)), margin) == expected


@given(st.lists(SCORES, min_size=1, max_size=40), SCORES, SCORES)
def test_the_more_camera_like_an_image_the_smaller_its_generated_p_value(
    margins: list[float], one: float, other: float
) -> None:
    ascending = np.sort(np.array(margins))
    low, high = sorted((one, other))
    assert generated_p_value(ascending, high) <= generated_p_value(ascending, low)
    assert 1 / (len(margins) + 1) <= generated_p_value(ascending, high) <= 1


@pytest.mark.parametrize(("generated", "level"), [(0, 1.0), (9, 0.1), (18, 1 / 19), (19, 0.05), (500, 0.05)])
def test_the_acquittal_level_is_alpha_or_the_lowest_that_the_generated_images_allow(
    generated: int, level: float
) -> None:
    assert acquittal_level(generated, 0.05) == pytest.approx(level)
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        acquittal_level(generated, 0.0)


def test_a_nan_margin_has_no_generated_p_value() -> None:
    with pytest.raises(CalibrationError, match="NaN"):
        generated_p_value(np.array([0.0, 1.0]), math.nan)


@pytest.mark.parametrize(
    ("n", "alpha", "expected"),
    [(19, 0.05, 1), (18, 0.05, 0), (99, 0.29, 29), (99, 0.07, 7), (999, 0.001, 1), (9, 0.3, 3), (1, 0.999, 1)],
)
def test_rejecting_ranks_do_not_fall_for_float_rounding(n: int, alpha: float, expected: int) -> None:
    assert rejecting_ranks(n, alpha) == expected


@given(st.integers(0, 500), ALPHAS)
def test_rejecting_ranks_count_the_possible_p_values_up_to_alpha(n: int, alpha: float) -> None:
    assert rejecting_ranks(n, alpha) == sum(rank / (n + 1) <= alpha for rank in range(1, n + 2))


@settings(deadline=None)  # importing SciPy takes longer than the usual deadline
@given(st.integers(1, 3000), ALPHAS, st.floats(0.5, 0.999))
def test_the_bound_is_the_beta_quantile(n: int, alpha: float, confidence: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    k = rejecting_ranks(n, alpha)
    expected = stats.beta.ppf(confidence, k, n + 1 - k) if k else 0.0
    assert false_rejection_bound(n, alpha, confidence) == pytest.approx(expected, abs=1e-9)


def test_the_bound_is_above_alpha_and_approaches_it_as_n_grows() -> None:
    bounds = [false_rejection_bound(n, 0.05) for n in (19, 199, 1999, 19999)]
    assert bounds == sorted(bounds, reverse=True)
    assert 0.05 < bounds[-1] < 0.053


def test_a_generator_with_enough_images_is_compared_with_its_own() -> None:
    calibration = _calibration(40, 19, 18)
    assert group(calibration, 0, 0.05)[1] == "generator"
    assert group(calibration, 0, 0.05)[0] is calibration.per_generator[0]


def test_a_generator_with_too_few_images_is_compared_with_all() -> None:
    calibration = _calibration(40, 19, 18)
    densities, name = group(calibration, 1, 0.05)
    assert name == "overall"
    assert densities is calibration.overall


@given(st.lists(st.tuples(SCORES, st.integers(0, 2)), min_size=2, max_size=80), st.floats(0.05, 0.9))
def test_choosing_the_list_by_predicted_generator_keeps_the_promise_that_is_stated(
    points: list[tuple[float, int]], alpha: float
) -> None:
    # Leaving out each exchangeable point in turn, as above: α over all for those with a list of their own, and
    # α of everything for the others.
    rejected = {"generator": 0, "overall": 0}
    compared = {"generator": 0, "overall": 0}
    for index, (score, predicted) in enumerate(points):
        others = points[:index] + points[index + 1 :]
        lists = [np.sort([value for value, generator in others if generator == which]) for which in range(3)]
        calibration = Calibration(np.sort([value for value, _ in others]), tuple(lists), None)
        if smallest_alpha(len(others)) > alpha:
            return
        densities, name = group(calibration, predicted, alpha)
        compared[name] += 1
        rejected[name] += p_value(densities, score) <= alpha
    assert rejected["generator"] <= alpha * compared["generator"] * (1 + 1e-12)
    assert rejected["overall"] <= alpha * len(points) * (1 + 1e-12)


@pytest.mark.parametrize("n", [1, 5, 12, 18, 37, 1233])
def test_too_few_images_are_refused_with_an_alpha_that_is_then_accepted(n: int) -> None:
    with pytest.raises(CalibrationError, match=r"smallest possible alpha is ([0-9.]+);") as refusal:
        group(_calibration(n, 0), 0, 0.999 / (n + 1))
    offered = float(str(refusal.value).split("smallest possible alpha is ")[1].split(";")[0])
    assert group(_calibration(n, 0), 0, offered)[1] == "overall"
    assert offered == pytest.approx(smallest_alpha(n), rel=1e-3)


def test_a_calibration_without_images_is_refused() -> None:
    with pytest.raises(CalibrationError, match="no calibration image"):
        group(_calibration(0, 0), 0, 0.5)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 2.0, math.nan])
def test_an_alpha_outside_zero_to_one_is_refused(alpha: float) -> None:
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        group(_calibration(40, 40), 0, alpha)
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        false_rejection_bound(40, alpha)


@pytest.mark.parametrize(
    ("sizes", "promised", "bound"),
    [
        ((5, 6, 9), 0.05, false_rejection_bound(20, 0.05)),  # all are compared with all: one list, its own bound
        ((40, 40, 40), 0.05, false_rejection_bound(40, 0.05, 1 - 0.05 / 3)),
        ((40, 3, 3), 0.1, false_rejection_bound(40, 0.05, 0.975) + false_rejection_bound(46, 0.05, 0.975)),
    ],
)
def test_the_promise_for_all_known_images_together_holds_whatever_lists_they_meet(
    sizes: tuple[int, int, int], promised: float, bound: float
) -> None:
    groups = tuple(np.arange(size, dtype=np.float64) for size in sizes)
    found = promise(Calibration(np.sort(np.concatenate(groups)), groups, None), 0.05)
    assert found.on_average == pytest.approx(promised)
    assert found.bound_95 == pytest.approx(bound)
    assert found.calibration_images == sum(sizes)


def test_the_bound_holds_in_nineteen_of_twenty_calibrations() -> None:
    """Known images of three generators, normal log densities: the true rate of a calibration is known exactly."""
    from scipy.stats import norm

    random = np.random.default_rng(0)
    sizes, shares, broken, runs = (30, 25, 4), np.array([30, 25, 4]) / 59, 0, 400
    for _ in range(runs):
        groups = tuple(np.sort(random.normal(size=size)) for size in sizes)
        calibration = Calibration(np.sort(np.concatenate(groups)), groups, None)
        lists = [groups[0], groups[1], calibration.overall]
        # p ≤ α up to the k-th smallest calibration score, k = floor(α (n + 1)), which is 1, 1 and 3 here.
        rates = [norm.cdf(values[int(0.05 * (len(values) + 1)) - 1]) for values in lists]
        broken += float(shares @ rates) > promise(calibration, 0.05).bound_95
    assert broken <= 0.05 * runs


@pytest.mark.parametrize(
    ("images", "level", "of_track"), [(1494, 0.01, 0.01), (199, 0.01, 0.01), (99, 0.01, 0.02), (19, 0.05, 0.1)]
)
def test_a_track_is_accused_at_the_level_of_a_face_where_so_small_a_merged_p_value_can_be(
    images: int, level: float, of_track: float
) -> None:
    assert track_accusation_level(images, level) == pytest.approx(of_track)
