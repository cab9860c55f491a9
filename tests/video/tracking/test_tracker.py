"""Faces of one frame are given to the tracks that they continue."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protoleak.faces.base import Face
from protoleak.images.framing import Box
from protoleak.video.tracking.tracker import LOST_SECONDS, Tracker, overlap

RATE = 25
boxes = st.builds(Box, *[st.floats(-500, 500)] * 2, *[st.floats(1, 500)] * 2)
faces = st.lists(st.builds(Face, boxes, st.floats(0, 1)), max_size=6)


def face(left: float, top: float = 0.0, side: float = 50.0) -> Face:
    return Face(Box(left, top, side, side), 0.9)


@given(boxes, boxes)
def test_overlap_is_a_symmetric_share(first: Box, second: Box) -> None:
    share = overlap(first, second)
    assert 0.0 <= share <= 1.0 + 1e-9  # rounding of areas
    assert math.isclose(share, overlap(second, first))
    assert math.isclose(overlap(first, first), 1.0, rel_tol=1e-6)  # left + width rounds


def test_overlap_of_boxes_shifted_by_half_a_width_is_a_third() -> None:
    assert overlap(Box(0, 0, 10, 10), Box(5, 0, 10, 10)) == 50 / 150


@given(st.lists(faces, max_size=12))
def test_every_face_gets_one_track_and_no_track_two_faces_of_a_frame(frames: list[list[Face]]) -> None:
    tracker = Tracker()
    ended: set[int] = set()
    for index, found in enumerate(frames):
        tracked = tracker.update(index / RATE, found)
        assert [one for _, one in tracked.faces] == found
        numbers = [track for track, _ in tracked.faces]
        assert len(set(numbers)) == len(numbers)
        assert not ended & set(numbers)  # what has ended stays so
        ended |= set(tracked.ended)
    remaining = tracker.interrupt()
    assert not ended & set(remaining)
    assert ended | set(remaining) == set(range(1, tracker.begun + 1))


def test_two_faces_that_pass_each_other_keep_their_tracks() -> None:
    tracker = Tracker()
    for index in range(60):
        x = 4.0 * index
        tracked = tracker.update(index / RATE, [face(x), face(240 - x, 20)])
        assert [track for track, _ in tracked.faces] == [1, 2]


def test_a_moving_face_that_is_hidden_for_some_frames_is_found_where_it_must_be_by_then() -> None:
    tracker = Tracker()
    for index in range(20):
        tracker.update(index / RATE, [face(8.0 * index)])
    for index in range(20, 29):  # 80 pixels on: without a velocity no overlap is left
        assert tracker.update(index / RATE, []).ended == []
    assert tracker.update(29 / RATE, [face(8.0 * 29)]).faces[0][0] == 1


def test_a_face_that_is_gone_for_long_ends_its_track_and_comes_back_as_another() -> None:
    tracker = Tracker()
    tracker.update(0.0, [face(0)])
    ended = [index for index in range(1, 60) if tracker.update(index / RATE, []).ended]
    assert len(ended) == 1
    assert ended[0] / RATE > LOST_SECONDS
    assert tracker.update(61 / RATE, [face(0)]).faces[0][0] == 2


def test_a_source_of_one_frame_in_two_seconds_has_tracks_too() -> None:
    tracker = Tracker()
    for index in range(10):
        assert tracker.update(2.0 * index, [face(index)] if index != 5 else []).ended == []
    assert tracker.begun == 1


def test_equal_timestamps_do_no_harm() -> None:
    tracker = Tracker()
    assert [tracker.update(1.0, [face(index)]).faces[0][0] for index in range(5)] == [1] * 5


def test_a_face_is_expected_where_its_track_goes_and_stays_where_none_expects_it() -> None:
    tracker = Tracker()
    for index in range(20):
        tracker.update(index / RATE, [face(8.0 * index)])
    now, then = 19 / RATE, 25 / RATE
    box = face(8.0 * 19).box
    assert tracker.moved(box, now, then).left == pytest.approx(8.0 * 25, abs=1)
    assert tracker.moved(face(900.0).box, now, then) == face(900.0).box
