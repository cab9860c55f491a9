"""verdicts.jsonl and tracks.json are valid at every moment, whatever happens."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from protoleak.errors import ProtoleakError
from protoleak.runtime.drift import DriftEvent
from protoleak.video.events import FaceEvent, FailureEvent, GapEvent
from protoleak.video.outputs.records import TRACKS, VERDICTS, RecordFiles, TracksFile
from tests.paths import ROOT
from tests.video.outputs.made import RUN, crop, ended, face, info, statistics

# Files may not grow beyond a size, as on a full disk: writes come up short, then fail.
ON_A_SMALL_DISK = """
import resource, sys
from pathlib import Path
from protoleak.errors import ProtoleakError
from protoleak.video.outputs.records import RecordFiles
from tests.video.outputs.made import RUN, crop, ended, face, info, statistics

records = RecordFiles(Path(sys.argv[1]), RUN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
records.start(info())
try:
    for number in range(100):
        records.event(face(float(number)), crop())
except ProtoleakError as error:
    print(error)
records.event(ended(), None)
records.finish(statistics())
"""
KILLED = """
import os, signal, sys
from pathlib import Path
from protoleak.video.outputs.records import RecordFiles
from tests.video.outputs.made import RUN, crop, face, info

records = RecordFiles(Path(sys.argv[1]), RUN)
records.start(info())
for number in range(5):
    records.event(face(float(number)), crop())
os.kill(os.getpid(), signal.SIGKILL)
"""


def lines(folder: Path) -> list[FaceEvent]:
    text = (folder / VERDICTS).read_text()
    assert text.endswith("\n") or not text
    return [msgspec.json.decode(line, type=FaceEvent) for line in text.splitlines()]


def tracks(folder: Path) -> TracksFile:
    return msgspec.json.decode((folder / TRACKS).read_bytes(), type=TracksFile)


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_every_attributed_face_is_a_line_at_once(tmp_path: Path) -> None:
    records = RecordFiles(tmp_path, RUN)
    records.start(info())
    for number in range(3):
        records.event(face(number / 2, track=number + 1), crop())
        assert [event.track for event in lines(tmp_path)] == list(range(1, number + 2))
    assert lines(tmp_path)[1] == face(0.5, track=2)
    records.close()


def test_tracks_gaps_failures_and_counts_of_all_sources_are_in_one_file(tmp_path: Path) -> None:
    records = RecordFiles(tmp_path, RUN)
    gap = GapEvent(source="a.mp4", timestamp=1.0, seconds=None, reason="damaged")
    failure = FailureEvent(source="a.mp4", message="truncated", timestamp=1.0)
    records.start(info("a.mp4"))
    drift = DriftEvent(source="a.mp4", timestamp=1.0, faces=30, evidence=120.0, mean_p_value=0.3)
    for event in (ended(1), gap, ended(2), failure, drift):
        records.event(event, None)
    records.finish(statistics("a.mp4"))
    assert len(tracks(tmp_path).sources) == 1
    records.source_failed(FailureEvent(source="gone.mp4", message="no such file"))
    records.start(info("b.mp4"))
    records.finish(statistics("b.mp4"))
    records.close()
    found = tracks(tmp_path)
    assert found.run == RUN
    assert [one.source.name for one in found.sources] == ["a.mp4", "gone.mp4", "b.mp4"]
    first, gone, last = found.sources
    assert first.tracks == [ended(1), ended(2)]
    assert (first.gaps, first.failures, first.statistics) == ([gap], [failure], statistics("a.mp4"))
    assert (first.drift, last.drift) == ([drift], [])
    assert (first.source.rate, first.source.sha256) == ("25", "a" * 64)
    assert (gone.statistics, gone.failures[0].message) == (None, "no such file")
    assert last.tracks == []


def test_tracks_json_is_valid_before_any_source_has_ended(tmp_path: Path) -> None:
    records = RecordFiles(tmp_path, RUN)
    records.start(info())
    records.event(ended(), None)
    assert tracks(tmp_path).sources == []
    records.close()


def test_a_program_that_is_killed_leaves_whole_lines(tmp_path: Path) -> None:
    assert run(KILLED, tmp_path).returncode < 0
    assert len(lines(tmp_path)) == 5
    assert tracks(tmp_path).sources == []
    assert {path.name for path in tmp_path.iterdir()} == {VERDICTS, TRACKS}


def test_a_full_disk_is_one_clear_line_and_what_was_decided_stays_valid(tmp_path: Path) -> None:
    done = run(ON_A_SMALL_DISK, tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"cannot write {tmp_path / VERDICTS}" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    kept = lines(tmp_path)
    assert [event.timestamp for event in kept] == [float(number) for number in range(len(kept))]
    assert len(kept) >= 3
    assert tracks(tmp_path).sources[0].tracks == [ended()]


def test_a_tracks_file_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = RecordFiles(tmp_path, RUN)
    records.start(info("a.mp4"))
    records.finish(statistics("a.mp4"))
    before = (tmp_path / TRACKS).read_bytes()
    records.start(info("b.mp4"))

    def refuse(_descriptor: int) -> None:  # a disk that finds out late that it is full
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ProtoleakError, match=r"cannot write .*tracks\.json"):
        records.finish(statistics("b.mp4"))
    assert {path.name for path in tmp_path.iterdir()} == {VERDICTS, TRACKS}
    assert (tmp_path / TRACKS).read_bytes() == before
    monkeypatch.undo()
    records.close()


def test_the_values_are_plain_json(tmp_path: Path) -> None:
    records = RecordFiles(tmp_path, RUN)
    records.start(info('quote " and ü.mp4'))
    records.event(face(1.0), crop())
    records.finish(statistics())
    records.close()
    line = json.loads((tmp_path / VERDICTS).read_text())
    assert line["verdict"]["why"]["timestep_weights"] == {"0": 0.7, "200": 0.3}
    assert json.loads((tmp_path / TRACKS).read_text())["sources"][0]["source"]["name"] == 'quote " and ü.mp4'
