"""In a file every frame has its faces, though the detector looks at few: the same as if it had looked at all."""

from __future__ import annotations

import pytest

from protoleak.faces.base import Face
from protoleak.video.frames import Gap
from protoleak.video.messages import EndOfStream, TrackedFrame, TrackedGap, TracksEnded
from protoleak.video.tracking.foresight import ForesightTracking
from protoleak.video.tracking.hindsight import FRAMES_HELD, HindsightTracking
from tests.video.tracking.stages import Followed, at, follow

FRAMES = 60


def slow(index: int) -> list[Face]:
    return [at(10 + 0.5 * index)]


def boxes(followed: Followed) -> list[list[tuple[int, float]]]:
    return [[(track, box.left) for track, box in frame.faces] for frame in followed.frames]


def test_a_steady_face_is_looked_for_in_few_frames_and_is_in_all_of_them() -> None:
    followed = follow(HindsightTracking, slow, range(FRAMES))
    assert len(followed.detected) <= FRAMES / 4  # every sixth, the last, and those in which a verdict is due
    assert [frame.frame.index for frame in followed.frames] == list(range(FRAMES))
    for index, frame in enumerate(boxes(followed)):
        assert frame == [(1, pytest.approx(10 + 0.5 * index))]
    assert [frame.frame.index for frame in followed.frames if frame.detected] == sorted(followed.detected)


@pytest.mark.parametrize(("came", "went"), [(9, 31), (10, 30), (1, 58), (23, 25)])
def test_a_face_is_in_the_frames_in_which_it_is_in_view_and_in_no_other(came: int, went: int) -> None:
    def script(index: int) -> list[Face]:
        return [*slow(index), *([at(100)] if came <= index <= went else [])]

    followed = follow(HindsightTracking, script, range(FRAMES))
    assert [index for index, frame in enumerate(followed.frames) if len(frame.faces) == 2] == [*range(came, went + 1)]
    assert {track for frame in followed.frames for track, _ in frame.faces} == {1, 2}
    assert len(followed.detected) < FRAMES / 2


def test_a_face_that_turns_fast_is_looked_for_more_often() -> None:
    def turning(index: int) -> list[Face]:
        return [at(min(8.0 * index % 200, 200 - 8.0 * index % 200))]

    steady, moving = (len(follow(HindsightTracking, script, range(FRAMES)).detected) for script in (slow, turning))
    assert moving > 1.2 * steady
    followed = follow(HindsightTracking, turning, range(FRAMES))
    assert {track for frame in followed.frames for track, _ in frame.faces} == {1}


def test_a_face_that_crosses_its_own_width_between_looks_is_followed_where_it_moves_steadily() -> None:
    def fast(index: int) -> list[Face]:
        return [at(12.0 * index)]  # of 40 pixels: after four frames nothing of the box is where it was

    steady, moving = (len(follow(HindsightTracking, script, range(FRAMES)).detected) for script in (slow, fast))
    assert moving <= steady + 8  # the first looks, before anybody knows how it moves
    followed = follow(HindsightTracking, fast, range(FRAMES))
    for index, frame in enumerate(boxes(followed)):
        assert frame == [(1, pytest.approx(12.0 * index))]


def test_judged_faces_are_those_that_are_judged_when_every_frame_is_looked_at() -> None:
    def script(index: int) -> list[Face]:
        return [*slow(index), *([at(100, side=40)] if index >= 17 else [])]

    sampled = []
    for kind in (HindsightTracking, ForesightTracking):
        nothing_left_out = {"detect_every": 0.0} if kind is ForesightTracking else {}
        followed = follow(kind, script, range(FRAMES), every=0.5, **nothing_left_out)
        sampled.append(
            [(face.track, face.frame.index, face.face) for frame in followed.frames for face in frame.sampled]
        )
    assert sampled[0] == sampled[1]
    assert len(sampled[0]) == 5 + 4  # at frames 0, 13, 26, … and 17, 30, …


def test_a_verdict_on_every_frame_looks_at_every_frame() -> None:
    followed = follow(HindsightTracking, slow, range(20), every=0.0)
    assert followed.detected == list(range(20))
    assert all(len(frame.sampled) == 1 for frame in followed.frames)


def test_frames_that_wait_come_before_a_gap_and_before_the_end() -> None:
    followed = follow(HindsightTracking, slow, [*range(10), Gap(0.4, 0.1, "damaged"), *range(13, 20)])
    kinds = [type(message) for message in followed.messages]
    assert kinds == [TrackedFrame] * 10 + [TrackedGap] + [TrackedFrame] * 7 + [TracksEnded, EndOfStream]
    assert {9, 13, 19} <= set(followed.detected)  # nothing is taken for in between across the gap
    assert {track for frame in followed.frames for track, _ in frame.faces} == {1}


def test_few_frames_wait_however_many_there_are_in_a_second() -> None:
    followed = follow(HindsightTracking, slow, range(FRAMES), rate=10_000.0)
    assert followed.detected == [0, *range(FRAMES_HELD, FRAMES, FRAMES_HELD), FRAMES - 1]
