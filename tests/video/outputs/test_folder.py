"""The folder of outputs: what is in it for one source and for several, and what becomes of it when something fails."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from protoleak.errors import MissingExtra, ProtoleakError
from protoleak.screener import Screener
from protoleak.video.events import FaceEvent, FailureEvent
from protoleak.video.outputs.folder import open_output_folder, open_outputs
from protoleak.video.outputs.records import TracksFile
from protoleak.video.outputs.run_record import RealFacesAccused, run_record
from protoleak.video.settings import StreamSettings
from protoleak.video.stream import stream
from tests.video.outputs.made import RUN, crop, ended, face, frame, info, seen, statistics
from tests.video.scripted import ScriptedSource


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_one_source_is_four_files(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV writes the annotated video")
    folder = tmp_path / "made" / "with" / "parents"
    with open_outputs(folder, RUN, annotate=True) as outputs:
        outputs.start(info())
        outputs.event(face(0.0), crop())
        outputs.frame(frame(0, 0.0), [seen()])
        outputs.event(ended(), None)
        outputs.finish(statistics())
    assert files(folder) == {"verdicts.jsonl", "tracks.json", "annotated.mp4", "report.html"}


def test_a_stream_fills_the_folder_that_is_made_for_its_screener(tiny_bundle: Path, tmp_path: Path) -> None:
    screener = Screener(tiny_bundle, engine="onnxruntime", threads=1)
    settings = StreamSettings(faces="none", every=0.5)
    with open_output_folder(tmp_path, screener, settings) as folder:
        events = list(stream(screener, ScriptedSource(range(50)), settings, [folder]))
    lines = (tmp_path / "verdicts.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=FaceEvent) for line in lines] == [
        event for event in events if isinstance(event, FaceEvent)
    ]
    run = msgspec.json.decode((tmp_path / "tracks.json").read_bytes(), type=TracksFile).run
    assert (run.settings["every"], run.face_finder) == (
        0.5,
        "no face detector: the middle of every frame is judged",
    )


def test_several_sources_have_a_folder_each_and_a_page_that_leads_to_them(tmp_path: Path) -> None:
    with open_outputs(tmp_path, RUN, several=True) as outputs:
        for name in ("in/Ümlaut clip.mp4", "rtsp://camera:554/stream?x=1"):
            outputs.start(info(name))
            outputs.event(face(0.0, source=name), crop())
            outputs.event(ended(source=name), None)
            outputs.finish(statistics(name))
        outputs.source_failed(FailureEvent(source="gone.mp4", message="<no> such file"))
    reports = sorted(name for name in files(tmp_path) if name.endswith("/report.html"))
    assert reports == ["sources/001_mlaut_clip.mp4/report.html", "sources/002_stream_x_1/report.html"]
    index = (tmp_path / "report.html").read_text()
    assert all(f'href="{name}"' in index for name in reports)
    assert "&lt;no&gt; such file" in index
    found = msgspec.json.decode((tmp_path / "tracks.json").read_bytes(), type=TracksFile)
    assert len(found.sources) == 3
    assert len((tmp_path / "verdicts.jsonl").read_text().splitlines()) == 2


def test_an_earlier_run_is_kept_unless_it_may_be_replaced(tmp_path: Path) -> None:
    with open_outputs(tmp_path, RUN, several=True) as outputs:
        outputs.start(info())
        outputs.finish(statistics())
    (tmp_path / "mine.txt").write_text("kept")
    before = files(tmp_path)
    with pytest.raises(ProtoleakError, match="--overwrite"):
        open_outputs(tmp_path, RUN)
    assert files(tmp_path) == before
    open_outputs(tmp_path, RUN, overwrite=True).close()
    assert files(tmp_path) == {"mine.txt", "verdicts.jsonl", "tracks.json"}


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProtoleakError, match=r"cannot write .*file/out: Not a directory") as caught:
        open_outputs(tmp_path / "file" / "out", RUN)
    assert "\n" not in str(caught.value)


def test_an_unwritable_folder_is_one_clear_line(tmp_path: Path, runs_as_root: bool) -> None:
    if runs_as_root:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(ProtoleakError, match="cannot write"):
        open_outputs(tmp_path, RUN)


def test_a_video_that_cannot_be_written_keeps_nothing_from_the_records(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV writes the annotated video")
    with open_outputs(tmp_path, RUN, annotate=True) as outputs:
        (tmp_path / "annotated.mp4").mkdir()
        outputs.start(info())
        outputs.event(face(0.0), crop())
        with pytest.raises(ProtoleakError, match=r"cannot write .*annotated\.mp4"):
            outputs.frame(frame(0, 0.0), [seen()])
        outputs.event(ended(), None)
        outputs.finish(statistics())
    found = msgspec.json.decode((tmp_path / "tracks.json").read_bytes(), type=TracksFile)
    assert found.sources[0].tracks == [ended()]
    assert "annotated video" not in (tmp_path / "report.html").read_text()


def test_a_report_that_cannot_be_written_keeps_nothing_from_the_records(tmp_path: Path) -> None:
    outputs = open_outputs(tmp_path, RUN)
    outputs.start(info())
    outputs.event(ended(), None)
    (tmp_path / "report.html").mkdir()
    with pytest.raises(ProtoleakError, match=r"cannot write .*report\.html"):
        outputs.finish(statistics())
    outputs.close()
    found = msgspec.json.decode((tmp_path / "tracks.json").read_bytes(), type=TracksFile)
    assert len(found.sources) == 1


def test_without_pyav_annotate_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingExtra, match=r"protoleak\[video\]"):
        open_outputs(tmp_path / "out", RUN, annotate=True)
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_open(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV writes the annotated video")

    def screened(folder: Path) -> None:
        with open_outputs(folder, RUN, annotate=True) as outputs:
            outputs.start(info())
            outputs.frame(frame(0, 0.0), [seen()])
            outputs.event(ended(), None)
            outputs.finish(statistics())

    screened(tmp_path / "first")
    handles = Path("/proc/self/fd")
    if not handles.is_dir():
        pytest.skip("this system doesn't list open files")
    before = len(list(handles.iterdir()))
    for number in range(3):
        screened(tmp_path / str(number))
    assert len(list(handles.iterdir())) == before


def test_the_record_of_a_run_names_everything_that_was_at_work(tiny_bundle: Path) -> None:
    screener = Screener(tiny_bundle, engine="onnxruntime", threads=1)
    record = run_record(screener, StreamSettings(every=2.0), "YuNet")
    assert record.bundle.sha256 == screener.bundle.sha256
    assert (record.settings["every"], record.face_finder, record.real_class) == (2.0, "YuNet", "camera")
    assert record.libraries["numpy"]
    assert record.real_faces_accused is None or isinstance(record.real_faces_accused, RealFacesAccused)


def test_what_is_known_is_on_disk_at_every_checkpoint_and_says_that_more_was_to_come(tmp_path: Path) -> None:
    with open_outputs(tmp_path, RUN, several=True) as outputs:
        gate, yard = outputs.sink(), outputs.sink()
        for sink, name in ((gate, "gate"), (yard, "yard")):
            sink.start(info(name))
            sink.event(face(0.0, source=name), crop())
        gate.checkpoint(statistics("gate"), [ended(source="gate")])
        yard.checkpoint(statistics("yard"), [ended(source="yard")])
        found = msgspec.json.decode((tmp_path / "tracks.json").read_bytes(), type=TracksFile)
        assert [(one.source.name, len(one.tracks), one.ended) for one in found.sources] == [
            ("gate", 1, False),
            ("yard", 1, False),
        ]
        report = (tmp_path / "sources" / "001_gate" / "report.html").read_text()
        assert "while the source was being screened" in report
        assert (tmp_path / "report.html").read_text().count("(not finished)") == 2
        gate.event(ended(source="gate"), None)  # a track that was open ends: it must not stand there twice
        yard.checkpoint(statistics("yard"), [])
        found = msgspec.json.decode((tmp_path / "tracks.json").read_bytes(), type=TracksFile)
        assert [len(one.tracks) for one in found.sources] == [1, 0]
        yard.finish(statistics("yard"))
        gate.finish(statistics("gate"))
    found = msgspec.json.decode((tmp_path / "tracks.json").read_bytes(), type=TracksFile)
    assert [(one.source.name, len(one.tracks), one.ended) for one in found.sources] == [
        ("yard", 0, True),
        ("gate", 1, True),
    ]
    assert "(not finished)" not in (tmp_path / "report.html").read_text()
    report = (tmp_path / "sources" / "001_gate" / "report.html").read_text()
    assert "while the source was being screened" not in report


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    with open_outputs(tmp_path, RUN):
        before = files(tmp_path)
        with pytest.raises(ProtoleakError, match="is being written by this process"):
            open_outputs(tmp_path, RUN, overwrite=True)
        assert files(tmp_path) == before
    open_outputs(tmp_path, RUN, overwrite=True).close()
