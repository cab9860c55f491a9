"""In order nothing overtakes and nothing is lost; of the latest only what is newest is kept, and nobody waits."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from protoleak.faces.base import Box, Face
from protoleak.video import queues
from protoleak.video.frames import Frame, Gap
from protoleak.video.messages import (
    EndOfStream,
    RenderedFrame,
    SampledFace,
    SourceFailed,
    TrackedFrame,
    TrackedGap,
    TracksEnded,
)
from protoleak.video.queues import Stopped
from protoleak.video.schedulers import FRAMES_BATCHED, FRAMES_QUEUED, Batch, InOrder, Latest, Scheduler

IMAGE = np.zeros((8, 8, 3), np.uint8)
LOST = Gap(0.5, None, "lost")


def frame(index: int) -> Frame:
    return Frame(index, index / 25, IMAGE, 0.0)


def tracked(index: int, *tracks: int, ended: tuple[int, ...] = ()) -> TrackedFrame:
    """A frame with a face of each of these tracks, all of them sampled."""
    box = Box(0, 0, 8, 8)
    sampled = [SampledFace(track, frame(index), Face(box, 1.0), IMAGE, 1.0) for track in tracks]
    return TrackedFrame(frame(index), [(track, box) for track in tracks], sampled, list(ended))


def shown(batch: Batch) -> list[object]:
    """(frame, track) of a face, the index of a frame, the tracks that ended; anything else as it is."""
    found: list[object] = []
    for message in batch:
        if isinstance(message, SampledFace):
            found.append((message.frame.index, message.track))
        elif isinstance(message, RenderedFrame):
            found.append(message.frame.index)
        else:
            found.append(message.tracks if isinstance(message, TracksEnded) else message)
    return found


def test_in_order_a_frame_comes_after_its_own_faces_and_before_the_end_of_its_tracks() -> None:
    scheduler = InOrder()
    for message in (tracked(0), tracked(1, 1, 2, ended=(1,)), TrackedGap(LOST, [2])):
        scheduler.put_tracked(message)
    assert shown(scheduler.next_batch(8)) == [0]  # without a face there is nothing to wait for
    assert shown(scheduler.next_batch(8)) == [(1, 1), (1, 2), 1, [1], [2], LOST]


def test_in_order_what_is_at_hand_goes_together_up_to_the_size_and_nothing_passes_the_end() -> None:
    scheduler = InOrder()
    for message in (tracked(0, 1), tracked(1, 1), tracked(2, 1), EndOfStream()):
        scheduler.put_tracked(message)
    assert shown(scheduler.next_batch(2)) == [(0, 1), 0, (1, 1), 1]
    assert shown(scheduler.next_batch(2)) == [(2, 1), 2, EndOfStream()]
    assert FRAMES_BATCHED >= FRAMES_QUEUED  # one batch can take all that is at hand


def test_in_order_who_is_ahead_waits_until_it_is_stopped() -> None:
    scheduler = InOrder()
    stopped = threading.Event()

    def decode() -> None:
        try:
            for index in range(100):
                scheduler.put_decoded(frame(index))
        except Stopped:
            stopped.set()

    thread = threading.Thread(target=decode)
    thread.start()
    time.sleep(0.05)
    assert len(scheduler.queues["frames to track"]) == FRAMES_QUEUED
    scheduler.stop()
    thread.join(5)
    assert stopped.is_set()
    assert scheduler.frames_dropped == 0


def test_of_the_latest_only_the_newest_frame_is_kept_and_everything_else() -> None:
    scheduler, failed = Latest(), SourceFailed("gone", None)
    for message in (frame(0), LOST, frame(1), frame(2), failed):
        scheduler.put_decoded(message)
    assert [scheduler.get_decoded() for _ in range(3)] == [LOST, frame(2), failed]
    assert scheduler.frames_dropped == 2


def test_of_the_latest_a_track_keeps_its_place_and_its_newest_image_and_ends_after_it() -> None:
    scheduler = Latest()
    scheduler.put_tracked(tracked(0, 1, 2))
    scheduler.put_tracked(tracked(1, 1, ended=(1, 2)))
    assert [scheduler.attributed.get() for _ in range(2)] == [
        RenderedFrame(message.frame, message.faces) for message in (tracked(0, 1, 2), tracked(1, 1))
    ]
    assert 2 in scheduler.pending
    assert shown(scheduler.next_batch(1)) == [(1, 1), [1]]
    scheduler.put_tracked(EndOfStream())
    assert shown(scheduler.next_batch(1)) == [(0, 2), [2], EndOfStream()]
    assert 2 not in scheduler.pending


def test_of_the_latest_a_face_that_is_queued_for_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = Latest()
    scheduler.put_tracked(tracked(0, 1))
    monkeypatch.setattr(queues, "PATIENCE", -1.0)
    assert scheduler.next_batch(4) == []
    assert scheduler.faces_given_up == 1


@pytest.mark.parametrize("scheduler", [InOrder(), Latest()], ids=["in order", "latest"])
def test_stages_that_wait_are_woken_by_a_stop(scheduler: Scheduler) -> None:
    woken = []

    def wait(get: object) -> None:
        try:
            get()  # type: ignore[operator]
        except Stopped:
            woken.append(get)

    gets = (scheduler.get_decoded, lambda: scheduler.next_batch(1), scheduler.attributed.get)
    threads = [threading.Thread(target=wait, args=(get,)) for get in gets]
    for thread in threads:
        thread.start()
    scheduler.stop()
    for thread in threads:
        thread.join(5)
    assert len(woken) == len(gets)


def test_only_a_live_source_is_overdue_by_this_machines_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    file, live = InOrder(), Latest()
    assert not live.overdue(5.0)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 10.0)
    assert live.overdue(5.0)
    assert not file.overdue(5.0)
