"""A live source waits for nobody: what is too old is given up and counted, and verdicts are never late."""

from __future__ import annotations

import time

from protoleak.faces.base import Face
from protoleak.images.framing import Box
from protoleak.video.events import FaceEvent, FailureEvent, GapEvent, TrackEvent
from protoleak.video.frames import Gap
from protoleak.video.settings import StreamSettings
from protoleak.video.stream import stream
from tests.video.scripted import RecordingSink, ScriptedDetector, ScriptedSource, SlowScreener, threads_left

# These tests compare sleeping with sleeping; the margins are for a machine that does other things as well.
SLACK = 0.75  # seconds


def three_faces(index: int) -> list[Face]:  # noqa: ARG001  # the signature of a script
    return [Face(Box(left, 30, 48, 48), 0.9) for left in (2, 56, 110)]


def test_a_source_three_times_faster_than_the_engine_is_attributed_with_bounded_latency(screener: SlowScreener) -> None:
    screener.seconds = 0.1  # for each face, since the batch size is 1: a third of what 30 fps would need
    sink = RecordingSink()
    source = ScriptedSource(range(90), live_rate=30)
    settings = StreamSettings(every=0.0, batch_size=1)
    events = list(stream(screener, source, settings, [sink], ScriptedDetector()))
    faces = [event for event in events if isinstance(event, FaceEvent)]
    assert len(faces) >= 5
    assert max(face.latency for face in faces) < 2 * screener.seconds + SLACK
    assert [face.frame for face in faces] == sorted(face.frame for face in faces)
    assert sink.statistics is not None
    assert sink.statistics.attributed == len(faces) < 60  # the others were never asked: newer ones took their place
    assert sink.statistics.frames_in == 90
    assert sink.statistics.frames_processed + sink.statistics.frames_dropped == 90
    assert isinstance(events[-1], TrackEvent)


def test_a_detector_slower_than_the_source_drops_the_older_frames_and_never_the_newest(screener: SlowScreener) -> None:
    sink, detector = RecordingSink(), ScriptedDetector(seconds=0.1)
    source = ScriptedSource([*range(60), 0.5], live_rate=60)
    list(stream(screener, source, StreamSettings(detect_every=0), [sink], detector))
    assert sink.statistics is not None
    assert sink.statistics.frames_dropped >= 30
    assert sink.statistics.frames_processed == 60 - sink.statistics.frames_dropped
    assert detector.looked_at == sorted(detector.looked_at)
    assert detector.looked_at[-1] == 59
    assert [index for index, _ in sink.frames] == detector.looked_at


def test_many_faces_and_a_slow_engine_get_their_newest_images_in_turn(screener: SlowScreener) -> None:
    screener.seconds = 0.15
    source = ScriptedSource(range(60), three_faces, live_rate=30)
    detector = ScriptedDetector(three_faces)
    events = list(stream(screener, source, StreamSettings(every=0.0, batch_size=1), (), detector))
    faces = [event for event in events if isinstance(event, FaceEvent)]
    assert {face.track for face in faces[:6]} == {1, 2, 3}  # none starves
    assert max(face.latency for face in faces) < 2 * screener.seconds + SLACK


def test_a_consumer_that_sleeps_does_not_make_the_verdicts_old(screener: SlowScreener) -> None:
    source = ScriptedSource(range(120), live_rate=60)
    latencies = []
    for event in stream(screener, source, StreamSettings(every=0.0), (), ScriptedDetector()):
        if isinstance(event, FaceEvent):
            latencies.append(event.latency)
            time.sleep(0.05)
    assert max(latencies) < 8 * 0.05 + SLACK  # what fits between the engine and the caller


def test_a_stall_blocks_nothing_and_max_seconds_still_ends_it(screener: SlowScreener) -> None:
    sink = RecordingSink()
    source = ScriptedSource([*range(5), 600.0], live_rate=50)
    events = list(stream(screener, source, StreamSettings(max_seconds=0.5), [sink], ScriptedDetector()))
    assert [type(event) for event in events] == [FaceEvent, TrackEvent]  # that we ended it ourselves is no failure
    assert source.closed
    assert sink.calls[-1] == "finish"
    assert threads_left() == []


def test_gaps_survive_where_frames_are_dropped(screener: SlowScreener) -> None:
    items = [*range(20), Gap(0.3, 5.0, "connection lost"), *range(300, 320), Gap(8.0, None, "gone")]
    detector = ScriptedDetector(seconds=0.05)
    events = list(stream(screener, ScriptedSource(items, live_rate=200), StreamSettings(), (), detector))
    assert [event.reason for event in events if isinstance(event, GapEvent)] == ["connection lost", "gone"]
    assert not any(isinstance(event, FailureEvent) for event in events)
    assert sum(isinstance(event, TrackEvent) for event in events) == 2


def test_closing_a_live_source_early_leaves_nothing(screener: SlowScreener) -> None:
    screener.seconds = 0.3
    source = ScriptedSource(range(10**6), live_rate=100)
    events = stream(screener, source, StreamSettings(every=0.0), (), ScriptedDetector())
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert source.closed
    assert threads_left() == []
