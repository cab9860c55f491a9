"""A file goes through the pipeline whole and in order; whatever happens, nothing is left behind."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import protoleak
from protoleak.bundle.calibration import Calibration
from protoleak.errors import MediaError, ProtoleakError
from protoleak.faces.base import Face
from protoleak.images.framing import Box
from protoleak.runtime.drift import DriftEvent, DriftMonitor
from protoleak.video.events import Event, FaceEvent, FailureEvent, GapEvent, TrackEvent
from protoleak.video.frames import Gap
from protoleak.video.settings import StreamSettings
from protoleak.video.stream import stream
from tests.paths import ROOT
from tests.video.scripted import (
    RATE,
    RecordingSink,
    ScriptedDetector,
    ScriptedSource,
    SlowScreener,
    no_face,
    one_face,
    threads_left,
)


@pytest.fixture(scope="module")
def screener(tiny_bundle: Path) -> SlowScreener:
    return SlowScreener(tiny_bundle, threads=1, engine="onnxruntime")


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """No test may leave a thread or a file handle."""
    before = handles()
    yield
    assert threads_left() == []
    assert handles() <= before


def handles() -> int:
    gc.collect()
    descriptors = Path("/proc/self/fd")
    return len(list(descriptors.iterdir())) if descriptors.is_dir() else 0


def run(screener: protoleak.Screener, source: ScriptedSource, *sinks: RecordingSink, **settings: object) -> list[Event]:
    detector = ScriptedDetector(source._faces)
    return list(stream(screener, source, StreamSettings(**settings), sinks, detector))  # type: ignore[arg-type]


def test_every_frame_of_a_file_is_seen_once_and_in_order_however_slow_the_engine_is(screener: SlowScreener) -> None:
    screener.seconds, sink = 0.02, RecordingSink()
    try:
        run(screener, ScriptedSource(range(100)), sink, every=0.2)
    finally:
        screener.seconds = 0.0
    assert [index for index, _ in sink.frames] == list(range(100))
    assert sink.statistics is not None
    assert (sink.statistics.frames_in, sink.statistics.frames_processed, sink.statistics.frames_dropped) == (
        100,
        100,
        0,
    )
    assert not sink.statistics.interrupted


def test_a_face_is_attributed_once_every_so_many_seconds_of_its_track(screener: SlowScreener) -> None:
    events = run(screener, ScriptedSource(range(4 * RATE)), every=1.0)
    faces = [event for event in events if isinstance(event, FaceEvent)]
    assert [event.frame for event in faces] == [0, RATE, 2 * RATE, 3 * RATE]
    assert [event.timestamp for event in faces] == [0.0, 1.0, 2.0, 3.0]
    assert {event.track for event in faces} == {1}
    assert all(event.latency > 0 for event in faces)


def test_a_track_is_undecided_until_its_minimum_evidence_and_ends_with_all_of_it(screener: SlowScreener) -> None:
    sink = RecordingSink()
    events = run(screener, ScriptedSource(range(4 * RATE)), sink, minimum_evidence=3)
    verdicts = [event.track_verdict for event in events if isinstance(event, FaceEvent)]
    assert [verdict.evidence for verdict in verdicts] == [1, 2, 3, 4]
    assert [verdict.label == "undecided" for verdict in verdicts] == [True, True, False, False]
    last = events[-1]
    assert isinstance(last, TrackEvent)
    assert last.track_verdict == verdicts[-1]
    assert (last.first_frame, last.last_frame, last.frames) == (0, 4 * RATE - 1, 4 * RATE)
    assert last.last_timestamp == pytest.approx((4 * RATE - 1) / RATE)


def test_sinks_see_each_frame_after_the_events_of_its_own_faces(screener: SlowScreener) -> None:
    sink = RecordingSink()
    events = run(screener, ScriptedSource(range(2 * RATE)), sink, minimum_evidence=1)
    assert sink.events == events
    assert sink.calls[:3] == ["start", "event", "frame"]
    assert sink.calls[-2:] == ["event", "finish"]
    assert all(faces[0].verdict.evidence == 1 + (index >= RATE) for index, faces in sink.frames)
    size = screener.bundle.manifest.preprocessing.image_size
    assert {crop.shape for crop in sink.crops} == {(size, size, 3)}


def test_the_crop_that_a_sink_sees_gives_the_verdict_again(screener: SlowScreener) -> None:
    sink = RecordingSink()
    events = run(screener, ScriptedSource(range(3)), sink)
    assert isinstance(events[0], FaceEvent)
    again = screener(sink.crops[0])[0]
    assert again.input == events[0].verdict.input
    assert again.log_density == events[0].verdict.log_density


def test_two_people_who_come_and_go_are_two_tracks(screener: SlowScreener) -> None:
    def script(index: int) -> list[Face]:
        left = [Face(Box(5, 20, 60, 60), 0.9)] if index < 50 else []
        return left + ([Face(Box(90, 20, 60, 60), 0.8)] if index >= 25 else [])

    tracks = [event for event in run(screener, ScriptedSource(range(150), script)) if isinstance(event, TrackEvent)]
    assert [(track.track, track.first_frame, track.last_frame) for track in tracks] == [(1, 0, 49), (2, 25, 149)]


def test_a_gap_is_reported_and_ends_the_tracks_where_it_is_long(screener: SlowScreener) -> None:
    items = [*range(10), Gap(0.4, 0.2, "damaged"), *range(15, 25), Gap(1.0, 30.0, "connection lost"), *range(800, 810)]
    events = run(screener, ScriptedSource(items))
    assert [event.reason for event in events if isinstance(event, GapEvent)] == ["damaged", "connection lost"]
    tracks = [event for event in events if isinstance(event, TrackEvent)]
    assert [(track.first_frame, track.last_frame, track.frames) for track in tracks] == [(0, 24, 20), (800, 809, 10)]
    assert events.index(tracks[0]) < [type(event) for event in events].index(GapEvent) + 2


def test_a_source_that_fails_midway_keeps_what_came_before_and_says_so_in_one_line(screener: SlowScreener) -> None:
    sink, source = RecordingSink(), ScriptedSource([*range(30), MediaError("scripted: cut off")])
    events = run(screener, source, sink)
    assert [type(event) for event in events] == [FaceEvent, FaceEvent, FailureEvent, TrackEvent]
    failure = events[2]
    assert isinstance(failure, FailureEvent)
    assert (failure.message, failure.timestamp) == ("scripted: cut off", 29 / RATE)
    assert len(sink.frames) == 30
    assert sink.statistics is not None
    assert sink.statistics.failures == 1
    assert source.closed


def test_an_unexpected_error_in_a_thread_reaches_the_caller_and_finishes_the_sinks(screener: SlowScreener) -> None:
    sink = RecordingSink()
    with pytest.raises(ZeroDivisionError):
        run(screener, ScriptedSource([*range(30), ZeroDivisionError()]), sink)
    assert sink.calls[-1] == "finish"


def test_a_face_that_the_engine_refuses_is_a_failure_and_the_others_go_on(
    screener: SlowScreener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_first(self: SlowScreener, images: list[object], batch_size: int) -> Iterator[object]:
        for index, outcome in enumerate(protoleak.Screener.each(self, images, batch_size)):  # type: ignore[arg-type]
            first, refuse_first.seen = not refuse_first.seen, True  # type: ignore[attr-defined]
            yield protoleak.EngineError(f"image {index}: the latent encoder gave NaN") if first else outcome

    refuse_first.seen = False  # type: ignore[attr-defined]
    monkeypatch.setattr(SlowScreener, "each", refuse_first)
    events = run(screener, ScriptedSource(range(30)))
    assert [type(event) for event in events] == [FailureEvent, FaceEvent, TrackEvent]
    assert isinstance(events[0], FailureEvent)
    assert events[0].message == "frame 0, track 1: the latent encoder gave NaN"


@pytest.mark.parametrize("where", ["start", "frame", "event", "finish"])
def test_an_error_of_a_sink_ends_the_source_and_every_sink_that_had_started_is_finished(
    screener: SlowScreener, where: str
) -> None:
    good, bad, source = RecordingSink(), RecordingSink(fail_at=where), ScriptedSource(range(10**6))
    if where == "finish":
        source = ScriptedSource(range(5))
    with pytest.raises(OSError, match="no space left"):
        run(screener, source, good, bad)
    assert good.calls[-1] == "finish"
    assert (bad.calls[-1] == "finish") == (where != "start")
    assert source.closed
    assert source.given < 50


def test_closing_early_stops_everything_and_the_sinks_get_the_open_tracks(screener: SlowScreener) -> None:
    sink, source = RecordingSink(), ScriptedSource(range(10**6))
    events = stream(screener, source, StreamSettings(), [sink], ScriptedDetector())
    assert isinstance(next(events), FaceEvent)
    events.close()  # type: ignore[attr-defined]
    assert source.closed
    assert [type(event) for event in sink.events] == [FaceEvent, TrackEvent]
    assert sink.statistics is not None
    assert sink.statistics.interrupted
    assert source.given < 50


def test_control_c_in_the_callers_loop_finishes_the_sinks_and_goes_on_up(screener: SlowScreener) -> None:
    sink, source = RecordingSink(), ScriptedSource(range(10**6))

    def screen() -> None:
        for _ in stream(screener, source, StreamSettings(), [sink], ScriptedDetector()):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        screen()
    gc.collect()
    assert sink.statistics is not None
    assert sink.statistics.interrupted


WAITING = """
import os, signal, sys, threading
from protoleak.video.settings import StreamSettings
from protoleak.video.stream import stream
from tests.video.scripted import RecordingSink, ScriptedDetector, ScriptedSource, SlowScreener, threads_left
signal.signal(signal.SIGINT, signal.default_int_handler)
sink, source = RecordingSink(), ScriptedSource([0, 600.0])
screener = SlowScreener(sys.argv[1], threads=1, engine="onnxruntime")
threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    list(stream(screener, source, StreamSettings(), [sink], ScriptedDetector()))
except KeyboardInterrupt:
    print("interrupted", source.closed, sink.calls[-1])
"""


def test_control_c_while_nothing_comes_finishes_too(tiny_bundle: Path) -> None:
    # In a process of its own: the signal is to reach this program, and not what other tests have loaded beside it.
    found = subprocess.run(
        [sys.executable, "-c", WAITING, str(tiny_bundle)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert found.stdout.split() == ["interrupted", "True", "finish"], found.stderr


def test_max_seconds_is_of_the_sources_own_time(screener: SlowScreener) -> None:
    sink = RecordingSink()
    run(screener, ScriptedSource(range(10**6)), sink, max_seconds=0.8)
    assert [index for index, _ in sink.frames] == list(range(20))


def test_a_source_without_frames_has_no_events(screener: SlowScreener) -> None:
    sink = RecordingSink()
    assert run(screener, ScriptedSource([]), sink) == []
    assert sink.calls == ["start", "finish"]


def test_settings_that_cannot_be_honoured_are_refused_and_the_source_is_closed(screener: SlowScreener) -> None:
    source = ScriptedSource(range(5))
    with pytest.raises(ProtoleakError, match="needs a model"):
        list(screener.stream(source, faces="yunet"))
    assert source.closed
    with pytest.raises(ProtoleakError, match="every is -1"):
        screener.stream(source, every=-1)


def test_screener_stream_is_the_pipeline(screener: SlowScreener) -> None:
    sink = RecordingSink()
    events = list(screener.stream(ScriptedSource(range(50)), sinks=[sink], detector=ScriptedDetector(), every=0.4))
    assert sum(isinstance(event, FaceEvent) for event in events) == 5
    whole = list(screener.stream(ScriptedSource(range(5)), faces="none"))
    assert [type(event) for event in whole] == [FaceEvent, TrackEvent]


def test_two_thousand_frames_leave_no_thread_no_file_and_no_memory_of_their_tracks(screener: SlowScreener) -> None:
    before = handles()

    def script(index: int) -> list[Face]:
        return one_face(index) if index % 100 < 50 else no_face(index)

    tracks = faces = 0
    for event in stream(screener, ScriptedSource(range(2000), script), StreamSettings(), (), ScriptedDetector(script)):
        tracks += isinstance(event, TrackEvent)
        faces += isinstance(event, FaceEvent)
        assert len(threads_left()) <= 3 + 2  # the stages, and the screener's decoders while it runs
    assert (tracks, faces) == (20, 40)
    assert handles() <= before


def test_drift_is_an_event_after_the_face_that_tells_it_and_counted(
    screener: SlowScreener, monkeypatch: pytest.MonkeyPatch
) -> None:
    generators = screener.bundle.manifest.generators
    low = np.linspace(-9e3, -8e3, 60)  # log densities below which none of the faces lies
    calibration = Calibration(low, (low,) * len(generators), None)
    reached = 1e-9  # by the first face
    monkeypatch.setattr(
        screener, "drift_monitor", lambda name: DriftMonitor(name, generators, calibration, 0.05, told_at=reached)
    )
    sink = RecordingSink()
    events = run(screener, ScriptedSource(range(3 * RATE)), sink)
    first, told, *rest = events
    assert isinstance(first, FaceEvent)
    assert isinstance(told, DriftEvent)
    assert (told.source, told.timestamp, told.faces) == (first.source, first.timestamp, 1)
    assert [type(event) for event in rest] == [FaceEvent, FaceEvent, TrackEvent]  # of a track one face is compared
    assert sink.events == events
    assert sink.statistics is not None
    assert (sink.statistics.drift_faces, sink.statistics.drift_evidence >= 1.0) == (1, True)
