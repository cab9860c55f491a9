"""Several sources at once: each alone in failing, none held up by another, one detector and one engine in turns."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from protoleak.errors import MediaError, ProtoleakError
from protoleak.faces.base import FOUND_SIDE, SURE_SIDE
from protoleak.video.events import FaceEvent, FailureEvent, GapEvent, TrackEvent
from protoleak.video.frames import FrameSource, Gap
from protoleak.video.outputs.folder import open_outputs
from protoleak.video.outputs.records import TracksFile
from protoleak.video.queues import Turns
from protoleak.video.settings import StreamSettings
from protoleak.video.sources.network_settings import NetworkSettings
from protoleak.video.streams import streams
from tests.video.outputs.made import RUN
from tests.video.scripted import RecordingSink, ScriptedDetector, ScriptedSource, SlowScreener, named, threads_left

NOW = NetworkSettings(first_delay=0.02, longest_delay=0.05)


class RecordingSinks:
    """Remembers the sink of each source, and which could not be opened, at first or at all."""

    def __init__(self, fail_at: str | None = None) -> None:
        self.sinks: list[RecordingSink] = []
        self.failures: list[FailureEvent] = []
        self.awaited: list[FailureEvent] = []
        self._fail_at = fail_at

    def sink(self) -> RecordingSink:
        self.sinks.append(RecordingSink(self._fail_at))
        return self.sinks[-1]

    def source_failed(self, failure: FailureEvent) -> None:
        self.failures.append(failure)

    def source_awaited(self, failure: FailureEvent) -> None:
        self.awaited.append(failure)


class Switched:
    """Opens a camera that is off for the first attempts."""

    def __init__(self, off_for: int) -> None:
        self.attempts = 0
        self._off_for = off_for

    def __call__(self, name: str) -> FrameSource:
        self.attempts += 1
        if self.attempts <= self._off_for:
            raise MediaError(f"{name}: connection refused")
        return named(ScriptedSource(range(10), live_rate=50), name)


def test_two_cameras_run_at_once_and_a_file_beside_them(screener: SlowScreener) -> None:
    cameras = [named(ScriptedSource(range(40), live_rate=20), name) for name in ("gate", "yard")]
    files = [named(ScriptedSource(range(30)), name) for name in ("one.mp4", "two.mp4")]
    sinks = RecordingSinks()
    settings = StreamSettings(every=0.2)
    events = list(streams(screener, [*cameras, *files], settings, [sinks], ScriptedDetector()))
    sources = [event.source for event in events if isinstance(event, FaceEvent)]
    assert set(sources) == {"gate", "yard", "one.mp4", "two.mp4"}
    first, last = ({name: [*way].index(name) for name in set(sources)} for way in (sources, sources[::-1]))
    assert first["gate"] < len(sources) - last["yard"]  # the cameras' verdicts lie among each other
    assert first["yard"] < len(sources) - last["gate"]
    assert sum(isinstance(event, TrackEvent) for event in events) == 4
    assert all(sink.calls[0] == "start" and sink.calls[-1] == "finish" for sink in sinks.sinks)
    assert len(sinks.sinks) == 4
    assert threads_left() == []


def test_the_least_face_has_fewer_pixels_in_live_sources_than_in_files(screener: SlowScreener) -> None:
    asked: dict[int, ScriptedDetector] = {}

    class WithThrift(ScriptedDetector):
        def thrifty(self, side: int) -> ScriptedDetector:
            return asked.setdefault(side, ScriptedDetector())

    detector = WithThrift()
    camera = named(ScriptedSource(range(100, 105), live_rate=20), "gate")
    file = named(ScriptedSource(range(5)), "one.mp4")
    list(streams(screener, [camera, file], StreamSettings(every=0.2), [], detector))
    assert detector.looked_at == []
    assert set(asked[SURE_SIDE].looked_at) == {0, 4}
    assert min(asked[FOUND_SIDE].looked_at) >= 100
    file = named(ScriptedSource(range(5)), "one.mp4")
    list(streams(screener, [file], StreamSettings(detect_every=0), [], detector))
    assert detector.looked_at == [0, 1, 2, 3, 4]  # where nothing is to be spared, nothing is


def test_one_detector_and_one_engine_look_at_one_frame_at_a_time_and_no_camera_starves(screener: SlowScreener) -> None:
    screener.seconds = 0.02
    busy = Counter[str]()

    class Watchful(ScriptedDetector):
        def __call__(self, image):  # type: ignore[no-untyped-def]
            busy["now"] += 1
            busy["most"] = max(busy["most"], busy["now"])
            try:
                return super().__call__(image)
            finally:
                busy["now"] -= 1

    # One is fifty times as fast as the others: it must not take their turns.
    rates = {"fast": 500.0, "a": 10.0, "b": 10.0, "c": 10.0}
    sources = [named(ScriptedSource(range(int(rate * 1.5)), live_rate=rate), name) for name, rate in rates.items()]
    sinks = RecordingSinks()
    list(streams(screener, sources, StreamSettings(every=0.0), [sinks], Watchful(seconds=0.01)))
    assert busy["most"] == 1
    processed = {sink.statistics.source: sink.statistics for sink in sinks.sinks if sink.statistics}
    assert all(processed[name].frames_processed >= 5 for name in "abc")
    assert all(processed[name].attributed >= 3 for name in "abc")


def test_each_fails_alone(screener: SlowScreener, tmp_path: Path) -> None:
    bad = named(ScriptedSource([0, 1, RuntimeError("the driver is gone"), 2], live_rate=20), "bad")
    cut = named(ScriptedSource([*range(5), Gap(0.2, 1.0, "connection lost"), *range(30, 35)], live_rate=20), "cut")
    good = named(ScriptedSource(range(30), live_rate=20), "good")
    sinks = RecordingSinks()
    given = [bad, str(tmp_path / "missing.mp4"), cut, good]
    events = list(streams(screener, given, StreamSettings(every=0.1), [sinks], ScriptedDetector()))
    failures = [event.message for event in events if isinstance(event, FailureEvent)]
    assert len(failures) == 2
    assert any("missing.mp4: no such file" in message for message in failures)
    assert "bad: cannot be screened further: RuntimeError: the driver is gone" in failures
    assert [failure.message for failure in sinks.failures] == [m for m in failures if "missing" in m]
    assert [event.reason for event in events if isinstance(event, GapEvent)] == ["connection lost"]
    statistics = {sink.statistics.source: sink.statistics for sink in sinks.sinks if sink.statistics}
    assert statistics["good"].frames_in == 30
    assert statistics["cut"].frames_in == 10


def test_a_camera_that_is_off_at_the_start_is_tried_again_while_others_are_screened(screener: SlowScreener) -> None:
    yard, sinks, opening = named(ScriptedSource(range(10**6), live_rate=20), "yard"), RecordingSinks(), Switched(3)
    given = ["rtsp://gate/live", yard]
    settings = StreamSettings(every=0.1, max_seconds=2.0)
    events = list(streams(screener, given, settings, [sinks], ScriptedDetector(), opening=opening, network=NOW))
    assert [failure.message for failure in sinks.awaited] == ["rtsp://gate/live: connection refused"]
    assert {event.source for event in events if isinstance(event, TrackEvent)} == {"rtsp://gate/live", "yard"}
    assert not any(isinstance(event, FailureEvent) for event in events)
    assert opening.attempts == 4


def test_a_camera_that_is_off_ends_with_the_others_and_is_an_error_at_once_where_there_are_none(
    screener: SlowScreener,
) -> None:
    for beside, heard in ([named(ScriptedSource(range(10), live_rate=20), "yard")], 1), ([], 0):
        sinks, opening = RecordingSinks(), Switched(10**6)
        given = ["rtsp://gate/live", *beside]
        events = list(
            streams(screener, given, StreamSettings(), [sinks], ScriptedDetector(), opening=opening, network=NOW)
        )
        assert [failure.message for failure in sinks.failures] == ["rtsp://gate/live: connection refused"]
        assert [event for event in events if isinstance(event, FailureEvent)] == sinks.failures
        assert len(sinks.awaited) == heard
        assert (opening.attempts > 1) == bool(beside)
    deadline = time.monotonic() + 30
    while threads_left() and time.monotonic() < deadline:  # an attempt that is under way ends by itself
        time.sleep(0.01)
    assert threads_left() == []


def test_a_file_that_is_missing_is_not_tried_again(screener: SlowScreener) -> None:
    yard, sinks, opening = named(ScriptedSource(range(10), live_rate=20), "yard"), RecordingSinks(), Switched(10**6)
    list(
        streams(screener, ["a.mp4", yard], StreamSettings(), [sinks], ScriptedDetector(), opening=opening, network=NOW)
    )
    assert (opening.attempts, len(sinks.failures), sinks.awaited) == (1, 1, [])


def test_max_seconds_ends_all_of_them_and_a_stall_holds_nobody_up(screener: SlowScreener) -> None:
    stalling = named(ScriptedSource([*range(3), 600.0], live_rate=20), "stalling")
    endless = named(ScriptedSource(range(10**6), live_rate=20), "endless")
    begun = time.monotonic()
    events = list(streams(screener, [stalling, endless], StreamSettings(max_seconds=1.0), (), ScriptedDetector()))
    assert time.monotonic() - begun < 30
    assert {event.source for event in events if isinstance(event, TrackEvent)} == {"stalling", "endless"}
    assert not any(isinstance(event, FailureEvent) for event in events)


def test_closing_early_ends_all_and_finishes_their_sinks(screener: SlowScreener) -> None:
    sources = [named(ScriptedSource(range(10**6), live_rate=50), name) for name in ("gate", "yard")]
    sinks = RecordingSinks()
    events = streams(screener, sources, StreamSettings(every=0.0), [sinks], ScriptedDetector())
    while len({event.source for event in (next(events) for _ in range(4))}) < 2:
        pass
    events.close()
    assert all(source.closed for source in sources)
    assert [sink.calls[-1] for sink in sinks.sinks] == ["finish", "finish"]
    assert all(sink.statistics is not None and sink.statistics.interrupted for sink in sinks.sinks)
    assert threads_left() == []


def test_a_sink_that_cannot_write_ends_all_and_every_sink_is_finished(screener: SlowScreener) -> None:
    sources = [named(ScriptedSource(range(10**6), live_rate=50), name) for name in ("gate", "yard")]
    sinks = RecordingSinks(fail_at="frame")
    with pytest.raises(OSError, match="no space"):
        list(streams(screener, sources, StreamSettings(), [sinks], ScriptedDetector()))
    assert [sink.calls[-1] for sink in sinks.sinks] == ["finish", "finish"]


def test_every_source_has_a_report_and_all_stand_in_one_table(screener: SlowScreener, tmp_path: Path) -> None:
    sources = [named(ScriptedSource(range(30), live_rate=25), name) for name in ("gate", "yard")]
    with open_outputs(tmp_path, RUN, several=True) as outputs:
        given = [*sources, str(tmp_path / "missing.mp4")]
        list(streams(screener, given, StreamSettings(every=0.2, faces="none"), [outputs]))
    found = msgspec.json.decode((tmp_path / "tracks.json").read_bytes(), type=TracksFile)
    assert {record.source.name: len(record.tracks) for record in found.sources} == {
        "gate": 1,
        "yard": 1,
        str(tmp_path / "missing.mp4"): 0,
    }
    assert all(record.ended for record in found.sources)
    index = (tmp_path / "report.html").read_text()
    reports = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("sources/*/report.html"))
    assert len(reports) == 2
    assert all(f'href="{name}"' in index for name in reports)


def test_turns_come_in_the_order_of_asking() -> None:
    turns, order = Turns(), list[int]()

    def take(number: int) -> None:
        with turns:
            order.append(number)

    with turns:
        threads = []
        for number in range(5):
            threads.append(threading.Thread(target=take, args=(number,)))
            threads[-1].start()
            time.sleep(0.02)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]


def test_there_must_be_a_detector(screener: SlowScreener) -> None:
    with pytest.raises(ProtoleakError, match="--face-model"):
        next(streams(screener, [ScriptedSource(range(1))], StreamSettings(faces="yunet")))
