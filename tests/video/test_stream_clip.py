"""A real clip of a speaker, with the default bundle and its face detector."""

from __future__ import annotations

from pathlib import Path

import pytest

import protoleak
from protoleak.video.events import FaceEvent, TrackEvent
from tests.video.scripted import RecordingSink

# The clip has four shots, cut at frames 20, 82 and 211; the speaker is alone in the third, and too small in the first.
SPEAKING = range(82, 211)


def test_the_speaker_is_one_track_and_every_verdict_has_its_frames_own_timestamp(shared: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV reads the clip")
    path = shared / "data" / "video" / "short_hamilton_clip.mp4"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    with av.open(str(path)) as container:
        times = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    sink = RecordingSink()
    screener = protoleak.load(threads=1, engine="onnxruntime")
    events = list(screener.stream(path, sinks=[sink]))

    seen = dict(sink.frames)
    in_shot = [face.track for frame in SPEAKING for face in seen[frame]]
    speaker = max(set(in_shot), key=in_shot.count)
    assert in_shot.count(speaker) >= 0.95 * len(SPEAKING)
    track = next(event for event in events if isinstance(event, TrackEvent) and event.track == speaker)
    assert (track.first_frame, track.last_frame) == (SPEAKING[0], SPEAKING[-1])  # not over the cuts
    faces = [event for event in events if isinstance(event, FaceEvent)]
    assert len({face.frame for face in faces if face.track == speaker}) >= 4  # in 4.3 seconds
    for face in faces:
        assert face.timestamp == pytest.approx(times[face.frame] - times[0], abs=1e-6)
    assert len(sink.frames) == len(times)
