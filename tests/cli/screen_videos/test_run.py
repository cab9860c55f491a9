"""`protoleak screen` of videos: what is written, what is said, and what it exits with."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console

pytest.importorskip("av", reason="PyAV reads and writes the videos: pip install 'protoleak[video]'")
import av

from protoleak.bundle.bundle import DEFAULT_BUNDLE
from protoleak.bundle.reader import FACE_DETECTOR
from protoleak.cli.screen_videos.tally import VideoTally, print_summary
from protoleak.progress import no_progress
from tests.cli.conftest import Run
from tests.json_lines import json_lines
from tests.video.outputs.made import ended, track_verdict
from tests.video.sources.media import cut, write, write_sound

YUNET = DEFAULT_BUNDLE / FACE_DETECTOR
FRAMES = 60  # of `write`, at 25 per second
WHOLE = ("--faces", "none", "--engine", "onnxruntime", "--threads", 1, "--every", 0.5, "--minimum-evidence", 2)


def test_a_folder_holds_verdicts_tracks_video_and_report(
    video: Path, tiny_bundle: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    stats = tmp_path / "stats.json"
    given = ("--bundle", tiny_bundle, "--out", out, "--annotate", "--stats", stats)
    assert run("screen", video, *given, *WHOLE) == 0
    faces = json_lines(out / "verdicts.jsonl")
    assert [face["timestamp"] for face in faces] == sorted(face["timestamp"] for face in faces)
    assert faces[0]["frame"] == 0
    assert len(faces) >= 4  # every half second of 2.4
    tracks = json.loads((out / "tracks.json").read_text())
    assert {face["track"] for face in faces} == {1}
    assert json.dumps(tracks).count('"track_verdict"') == 1
    with av.open(str(out / "annotated.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAMES
    assert "clip.mp4" in (out / "report.html").read_text()
    [counts] = json.loads(stats.read_text())["sources"]
    assert (counts["frames_in"], counts["frames_dropped"], counts["attributed"]) == (FRAMES, 0, len(faces))
    printed = capsys.readouterr()
    assert f"1 {faces[-1]['track_verdict']['verdict']}" in printed.out
    assert "1 track: " in printed.out
    assert f"{FRAMES} frames" in printed.out
    assert "faces:" in printed.err  # which detector is in use


def test_a_source_that_fails_is_one_line_and_the_others_are_done(
    video: Path, tiny_bundle: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, sound = tmp_path / "empty.mp4", write_sound(tmp_path / "sound.mp4")
    empty.touch()
    out = tmp_path / "out"
    assert run("screen", empty, video, sound, "--bundle", tiny_bundle, "--out", out, *WHOLE) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert [Path(line.split(": ")[1]).name for line in errors] == ["empty.mp4", "sound.mp4"]
    assert {line["source"] for line in json_lines(out / "verdicts.jsonl")} == {str(video)}
    assert json.loads((out / "tracks.json").read_text())
    assert (out / "report.html").is_file()


def test_what_a_truncated_video_still_shows_is_judged(
    tiny_bundle: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.mp4"
    write(path, movflags="faststart")
    out = tmp_path / "out"
    assert run("screen", cut(path, 0.6), "--bundle", tiny_bundle, "--out", out, *WHOLE) in (0, 1)
    assert json_lines(out / "verdicts.jsonl")
    said = [line for line in capsys.readouterr().err.splitlines() if "cut.mp4" in line]
    assert said
    assert all(line.startswith(("note:", "error:")) for line in said)


def test_a_webcam_that_is_not_there_is_one_line_and_status_2(
    tiny_bundle: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("screen", 97, "--bundle", tiny_bundle, *WHOLE) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "97" in errors[0]


def test_results_of_an_earlier_run_are_not_replaced_unasked(
    video: Path, tiny_bundle: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    given = ("screen", video, "--bundle", tiny_bundle, "--out", out, *WHOLE)
    assert run(*given) == 0
    before = (out / "verdicts.jsonl").read_bytes()
    assert run(*given) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (out / "verdicts.jsonl").read_bytes() == before
    assert run(*given, "--overwrite") == 0


def test_a_folder_that_cannot_be_made_is_known_before_anything_is_screened(
    video: Path, tiny_bundle: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run("screen", video, "--bundle", tiny_bundle, "--out", tmp_path / "file" / "out", *WHOLE) == 2
    printed = capsys.readouterr()
    assert len([line for line in printed.err.splitlines() if line.startswith("error:")]) == 1
    assert "frames" not in printed.out


def test_what_was_decided_before_the_disk_was_full_is_on_it_and_valid(
    video: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    """No file may grow beyond 40 kB: most verdicts fit (20 of 2.5 kB), and so does the report of 35 kB.

    A slow machine writes a report before the first verdict.
    """
    limit = 40_000  # bytes
    out = tmp_path / "out"
    command = [sys.executable, "-m", "protoleak", "screen", video, "--bundle", tiny_bundle, "--out", out, *WHOLE]
    done = subprocess.run(
        [str(part) for part in [*command, "--every", 0.1]],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, done.stderr
    written = (out / "verdicts.jsonl").read_text()
    complete = written[: written.rfind("\n") + 1].splitlines()
    assert complete
    assert all(json.loads(line)["verdict"] for line in complete)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--out", "verdicts.jsonl"), "give --out DIR"),
        (("--resume",), "--resume is for images"),
        (("--annotate",), "give --out DIR"),
        (("--every", "-1"), "error: --every is -1: it has to be 0 or more seconds"),
        (("--max-seconds", "0"), "error: --max-seconds is 0: it has to be more than 0"),
        (("--max-download", "inf"), "--max-download inf is no finite number"),
        (("--faces", "eyes"), "'eyes' is not one of 'auto', 'none'"),
    ],
)
def test_options_that_cannot_be_honoured_are_one_line(
    options: tuple[str, ...],
    words: str,
    video: Path,
    tiny_bundle: Path,
    run: Run,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("screen", video, "--bundle", tiny_bundle, *options) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1


def test_options_of_videos_are_refused_for_images(
    tiny_bundle: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "image.png")
    assert run("screen", tmp_path / "image.png", "--bundle", tiny_bundle, "--dashboard") == 2
    assert "--dashboard is for videos" in capsys.readouterr().err


def test_ctrl_c_finishes_what_is_written_and_prints_the_summary(video: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    # Looking at a frame takes long here, so that the interruption comes in the middle.
    given = ("--bundle", tiny_bundle, "--out", out)
    slowed = "import runpy, sys, time; from protoleak.faces.open import WholeFrame as W; find = W.__call__; "
    slowed += "W.__call__ = lambda self, image: (time.sleep(0.2), find(self, image))[1]; "
    slowed += "sys.argv = sys.argv[1:]; runpy.run_module('protoleak', run_name='__main__')"
    process = subprocess.Popen(
        [sys.executable, "-c", slowed, *map(str, ("protoleak", "screen", video, *given, *WHOLE))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while (
        not ((out / "verdicts.jsonl").exists() and json_lines(out / "verdicts.jsonl")) and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "interrupted" in printed
    [source] = json.loads((out / "tracks.json").read_text())["sources"]
    assert source["statistics"]["interrupted"]
    assert 0 < source["statistics"]["frames_processed"] < FRAMES
    assert len(source["tracks"]) == 1
    assert "clip.mp4" in (out / "report.html").read_text()


def test_the_speaker_of_a_real_clip_is_one_track_and_every_verdict_has_its_frames_own_timestamp(
    shared: Path, run: Run, tmp_path: Path
) -> None:
    clip = shared / "data" / "video" / "short_hamilton_clip.mp4"
    if not clip.is_file():
        pytest.skip("the clip is not there")
    out = tmp_path / "out"
    assert run("screen", clip, "--out", out, "--annotate", "--engine", "onnxruntime") == 0
    with av.open(str(clip)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    faces = json_lines(out / "verdicts.jsonl")
    assert faces
    for face in faces:
        assert face["timestamp"] == pytest.approx(times[face["frame"]] - times[0], abs=1e-6)
    # The clip is cut: he is the one face from frame 82 to frame 210, in one shot.
    [source] = json.loads((out / "tracks.json").read_text())["sources"]
    speaker = max(source["tracks"], key=lambda track: track["frames"])
    assert (speaker["first_frame"], speaker["last_frame"]) == (82, 210)
    assert speaker["frames"] >= 0.95 * (210 - 82 + 1)
    with av.open(str(out / "annotated.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(times)


def test_faces_in_images_are_judged_one_by_one(
    shared: Path, tiny_bundle: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = next(iter(sorted((shared / "data" / "real-headshots").glob("*.jpg"))), None)
    if image is None:
        pytest.skip("the photographs are not there")
    out = tmp_path / "verdicts.jsonl"
    given = ("--bundle", tiny_bundle, "--out", out, "--face-model", YUNET)
    assert run("screen", image, *given, "--engine", "onnxruntime", "--threads", 1) == 0
    [face] = json_lines(out)
    assert face["box"]["width"] > 50
    assert face["source"] == str(image)
    assert "YuNet" in capsys.readouterr().err


def test_an_image_without_a_face_is_one_line_and_status_2(
    tiny_bundle: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    Image.fromarray(np.full((200, 200, 3), 90, np.uint8)).save(tmp_path / "flat.png")
    assert run("screen", tmp_path / "flat.png", "--bundle", tiny_bundle, "--face-model", YUNET) == 2
    assert "no face" in capsys.readouterr().err


def test_a_second_process_with_the_same_folder_is_refused(
    video: Path, tiny_bundle: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    holder = "import sys, pathlib; from protoleak.file_locks import locked\n"
    holder += "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(out / "verdicts.jsonl")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert run("screen", video, "--bundle", tiny_bundle, "--out", out, "--overwrite", *WHOLE) == 2
        assert f"is being written by process {other.pid}" in capsys.readouterr().err
        other.kill()
    assert run("screen", video, "--bundle", tiny_bundle, "--out", out, *WHOLE) == 0


def test_two_live_cameras_are_screened_at_once(
    tiny_bundle: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.rtsp_camera import RtspCamera

    clip, out = tmp_path / "clip.mp4", tmp_path / "out"
    with av.open(str(clip), "w") as target:
        stream = target.add_stream("libx264", rate=25, options={"bf": "0", "g": "10"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for index in range(50):
            image = np.random.default_rng(index).integers(0, 256, (8, 12, 3), np.uint8).repeat(8, 0).repeat(8, 1)
            target.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        target.mux(stream.encode(None))
    dead = "rtsp://127.0.0.1:9/dead"  # nobody answers there
    with RtspCamera(clip) as gate, RtspCamera(clip) as yard:
        given = ("--bundle", tiny_bundle, "--out", out, "--max-seconds", 2, "--dashboard", *WHOLE)
        assert run("screen", gate.address, dead, yard.address, *given) == 1
    sources = [line["source"] for line in json_lines(out / "verdicts.jsonl")]
    assert set(sources) == {gate.address, yard.address}
    first_of_each = [sources.index(name) for name in (gate.address, yard.address)]
    last_of_each = [len(sources) - 1 - sources[::-1].index(name) for name in (gate.address, yard.address)]
    assert max(first_of_each) < min(last_of_each)  # one began before the other had ended
    assert len(list(out.glob("sources/*/report.html"))) == 2
    printed = capsys.readouterr()
    assert "1 failed" in printed.out


def test_a_track_of_which_no_face_was_judged_has_no_p_value(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(width=150)
    tally = VideoTally(console, no_progress)
    nothing = msgspec.structs.replace(
        track_verdict("undecided", 0, p_value=1.0), nearest=None, real_p_value=None, scores={}
    )
    for number, verdict in enumerate((track_verdict(), nothing), start=1):
        tally.take(ended(number, verdict))
    print_summary(tally, None, console)
    _, first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.split()[-3:] == ["0.400", "0.020", "3"]
    assert second.split()[-4:] == ["–", "–", "–", "0"]
