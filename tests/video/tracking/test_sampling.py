"""A track's face is attributed when there is something new to learn."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from protoleak.video.tracking.sampling import LARGER, SHARPER, SamplingRule


def taken(rule: SamplingRule, faces: list[tuple[float, float, float]]) -> list[int]:
    """Which of (timestamp, side, sharpness) are attributed."""
    found = []
    for index, face in enumerate(faces):
        if rule.wants(*face):
            rule.took(*face)
            found.append(index)
    return found


def test_the_first_face_is_sampled_and_then_one_every_so_many_seconds() -> None:
    faces = [(index / 29.97, 100.0, 50.0) for index in range(100)]
    assert taken(SamplingRule(1.0), faces) == [0, 30, 60, 90]
    assert taken(SamplingRule(0.0), faces) == list(range(100))


def test_a_face_that_is_clearly_larger_or_sharper_is_sampled_at_once_and_a_little_is_not_enough() -> None:
    rule = SamplingRule(60.0)
    assert taken(rule, [(0.0, 100.0, 50.0), (0.1, 1.4 * 100, 50.0), (0.2, 100.0, 1.9 * 50)]) == [0]
    assert taken(rule, [(0.3, LARGER * 100, 10.0), (0.4, LARGER * 100, 10.0)]) == [0]
    assert taken(rule, [(0.5, 20.0, SHARPER * 50), (0.6, 20.0, SHARPER * 50)]) == [0]


@given(st.lists(st.tuples(st.floats(48, 1080), st.floats(1, 4000)), max_size=400))
def test_a_face_of_any_history_is_taken_early_only_a_handful_of_times(history: list[tuple[float, float]]) -> None:
    faces = [(0.001 * index, side, sharpness) for index, (side, sharpness) in enumerate(history)]
    bound = 1 + math.log(1080 / 48, LARGER) + math.log(4000, SHARPER)
    assert len(taken(SamplingRule(60.0), faces)) <= bound
