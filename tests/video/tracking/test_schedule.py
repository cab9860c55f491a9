"""No face is in view for longer than it may before the detector looks, at any rate of frames."""

from __future__ import annotations

import pytest

from protoleak.video.tracking.schedule import DetectionSchedule

MANY = 10**6


def detected(times: list[float], longest: float, most: int = MANY) -> list[int]:
    schedule, found = DetectionSchedule(longest), []
    for index, time in enumerate(times):
        if schedule.due(time, most):
            schedule.detected()
            found.append(index)
    return found


@pytest.mark.parametrize(
    ("rate", "every"), [(4, 1), (5, 2), (15, 4), (25, 6), (30, 7), (60, 13)]
)  # a face that comes in the frame after a detected one is in view for (every - 1) / rate seconds
def test_the_detector_looks_as_seldom_as_it_may(rate: int, every: int) -> None:
    assert detected([index / rate for index in range(40)], 0.2) == list(range(0, 40, every))


def test_frames_that_come_late_are_waited_for_no_longer() -> None:
    times = [0.0, 0.04, 0.08, 0.4, 0.44, 0.48]
    assert detected(times, 0.2) == [0, 3]  # as long after 0.4 s another 0.32 s might go by


def test_none_is_left_out_where_none_may_be() -> None:
    assert detected([0.0, 0.01, 0.01, 0.03], 0.0) == [0, 1, 2, 3]


def test_so_many_frames_may_pass_and_no_more() -> None:
    assert detected([index / 1000 for index in range(10)], 0.2, most=4) == [0, 4, 8]


def test_after_a_cut_the_detector_looks_at_once() -> None:
    schedule = DetectionSchedule(0.2)
    assert schedule.due(0.0, MANY)
    schedule.detected()
    assert not schedule.due(0.04, MANY)
    schedule.restart()
    assert schedule.due(0.08, MANY)
