"""Of a live source nothing is known of what comes: the detector looks less often only while nothing surprises it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from protoleak.faces.base import Face
from protoleak.video.tracking.foresight import ForesightTracking
from tests.video.tracking.stages import at, follow

FRAMES = 75


def steady(index: int) -> list[Face]:
    return [at(10 + 0.8 * index)]


def test_a_steady_face_is_expected_where_it_is_and_looked_for_as_seldom_as_it_may_be() -> None:
    followed = follow(ForesightTracking, steady, range(FRAMES))
    later = [index for index in followed.detected if index >= 10]
    assert len(later) <= (FRAMES - 10) / 4  # every sixth, and those in which a verdict is due
    assert max(after - before for before, after in pairwise(later)) == 6  # the last may have come 0.2 s before
    for index, frame in enumerate(followed.frames):
        [(track, box)] = frame.faces
        assert track == 1
        assert box.left == pytest.approx(10 + 0.8 * index, abs=2.0)


def test_a_newcomer_is_found_in_time_and_then_every_frame_is_looked_at_for_a_while() -> None:
    def script(index: int) -> list[Face]:
        return [*steady(index), *([at(110)] if index >= 40 else [])]

    followed = follow(ForesightTracking, script, range(FRAMES))
    found = next(index for index, frame in enumerate(followed.frames) if len(frame.faces) == 2)
    assert 40 <= found <= 45  # 0.2 s
    assert {found + 1, found + 2} <= set(followed.detected)
    assert followed.frames[found].sampled  # and judged at once


def test_faces_that_move_unforeseeably_are_looked_for_in_every_frame() -> None:
    followed = follow(ForesightTracking, lambda index: [at(30 + 12 * (index % 2))], range(30))
    assert followed.detected == list(range(30))


def test_a_frame_in_which_a_verdict_is_due_is_looked_at() -> None:
    followed = follow(ForesightTracking, steady, range(FRAMES), every=0.28)
    sampled = [face.frame.index for frame in followed.frames for face in frame.sampled]
    assert sampled == list(range(0, FRAMES, 7))


def test_every_frame_is_looked_at_where_that_is_asked_for() -> None:
    followed = follow(ForesightTracking, steady, range(30), detect_every=0.0)
    assert followed.detected == list(range(30))
    assert all(frame.detected for frame in followed.frames)
