"""annotated.mp4 shows every frame at its own time, with what was said of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.paths import ROOT

av = pytest.importorskip("av", reason="PyAV reads what was written")

from protoleak.images.framing import Box  # noqa: E402
from protoleak.video.events import TrackLabel  # noqa: E402
from protoleak.video.frames import SourceInfo  # noqa: E402
from protoleak.video.outputs import encoder  # noqa: E402
from protoleak.video.outputs.annotate import AnnotatedVideo  # noqa: E402
from tests.video.outputs.made import frame, info, seen, statistics, track_verdict  # noqa: E402

TICK = 1e-7  # seconds: half a tick of the file's clock, which is finer than that of any container
ON_A_SMALL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from protoleak.errors import ProtoleakError
from protoleak.video.outputs.annotate import AnnotatedVideo
from protoleak.video.frames import Frame
from tests.video.outputs.made import info, statistics

resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
video = AnnotatedVideo(Path(sys.argv[1]), print)
video.start(info())
noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
try:
    for index in range(400):
        video.frame(Frame(index, index / 25, np.roll(noise, 7 * index, axis=1), 0.0), [])
except ProtoleakError as error:
    print(error)
video.finish(statistics())
"""
BROKEN_OFF = """
import os, signal, sys
from pathlib import Path
from protoleak.video.outputs.annotate import AnnotatedVideo
from tests.video.outputs.made import frame, info

video = AnnotatedVideo(Path(sys.argv[1]), print)
video.start(info())
for index in range(250):
    video.frame(frame(index, index / 25), [])
os.kill(os.getpid(), signal.SIGKILL)
"""


def annotated(
    path: Path, times: Sequence[float], source: SourceInfo, size: tuple[int, int] = (48, 64)
) -> tuple[list[float], float, list[str]]:
    """Timestamps and duration of the file that comes of frames at these times, and what was noted."""
    notes: list[str] = []
    video = AnnotatedVideo(path, notes.append)
    video.start(source)
    for index, time in enumerate(times):
        video.frame(frame(index, time, *size), [seen()])
    video.finish(statistics())
    return (*timing(path), notes)


def timing(path: Path) -> tuple[list[float], float]:
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        times = [float(image.pts * image.time_base) for image in file.decode(stream)]
        return times, float(stream.duration * stream.time_base) if stream.duration else 0.0


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(60), Fraction(2997, 100)])
def test_every_frame_keeps_its_time_and_the_whole_its_duration(tmp_path: Path, rate: Fraction) -> None:
    times = [float(index / rate) for index in range(40)]
    found, duration, notes = annotated(tmp_path / "a.mp4", times, info(rate=rate, duration=float(40 / rate)))
    assert found == pytest.approx(times, abs=TICK)
    assert duration == pytest.approx(float(40 / rate), abs=2 * TICK)
    assert notes == []


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(1, 20_000), min_size=1, max_size=12),
    st.sampled_from([1000, 12800, 15360, 30000, 90000, 11988]),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_at_a_variable_rate_and_any_size_no_time_is_moved(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], clock: int, size: tuple[int, int]
) -> None:
    times = [float(ticks) / clock for ticks in np.cumsum([0, *steps])]
    path = tmp_path_factory.mktemp("vfr") / "a.mp4"
    end = times[-1] + 1 / 25
    found, duration, _ = annotated(path, times, info(duration=end), size)
    assert found == pytest.approx(times, abs=TICK)
    assert duration == pytest.approx(end, abs=2 * TICK)


def test_an_image_of_odd_size_gets_one_more_row_and_column(tmp_path: Path) -> None:
    _, _, notes = annotated(tmp_path / "a.mp4", [0, 0.04], info(), (47, 63))
    with av.open(str(tmp_path / "a.mp4")) as file:
        stream = file.streams.video[0]
        assert (stream.height, stream.width) == (48, 64)
    assert len(notes) == 1
    assert "odd size" in notes[0]


def test_a_live_source_keeps_its_real_times_over_hours_without_images(tmp_path: Path) -> None:
    times = [0.0, 0.033, 7000.5, 7000.6]
    found, duration, notes = annotated(tmp_path / "a.mp4", times, info(live=True, rate=None, duration=None))
    assert found == pytest.approx(times, abs=1e-5)
    assert duration == pytest.approx(7000.7, abs=1e-3)
    assert notes == []


def test_a_gap_that_mp4_cannot_hold_is_shortened_and_said(tmp_path: Path) -> None:
    found, _, notes = annotated(tmp_path / "a.mp4", [0.0, 1.0, 1000.0, 1001.0], info(duration=1001.04))
    assert len(found) == 4
    assert found[3] - found[2] == pytest.approx(1.0, abs=TICK)
    assert "shorter" in notes[0]


def test_without_libx264_it_is_mpeg4_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    times = [index / 25 for index in range(10)]
    found, _, notes = annotated(tmp_path / "a.mp4", times, info(duration=0.4))
    assert found == pytest.approx(times, abs=TICK)
    assert "mpeg4" in notes[0]
    with av.open(str(tmp_path / "a.mp4")) as file:
        assert file.streams.video[0].codec_context.name == "mpeg4"


def test_a_source_that_changes_its_size_stays_one_video(tmp_path: Path) -> None:
    video = AnnotatedVideo(tmp_path / "a.mp4", print)
    video.start(info(live=True, duration=None))
    video.frame(frame(0, 0.0), [])
    video.frame(frame(1, 0.1, 30, 90), [seen()])
    video.finish(statistics())
    assert timing(tmp_path / "a.mp4")[0] == pytest.approx([0.0, 0.1], abs=1e-5)


def test_a_source_without_a_frame_leaves_no_file(tmp_path: Path) -> None:
    video = AnnotatedVideo(tmp_path / "a.mp4", print)
    video.start(info())
    video.finish(statistics())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("label", ["known", "real", "unknown", "undecided"])
def test_the_box_is_where_the_face_is_in_the_colour_of_its_verdict(tmp_path: Path, label: TrackLabel) -> None:
    path = tmp_path / "a.mp4"
    video = AnnotatedVideo(path, print)
    video.start(info())
    grey = np.full((480, 640, 3), 120, np.uint8)
    for index in range(3):
        shown = [seen(verdict=track_verdict(label), box=Box(200, 150, 240, 200))]
        video.frame(type(frame(0, 0))(index, index / 25, grey, 0.0), shown)
    video.finish(statistics())
    with av.open(str(path)) as file:
        image = next(file.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    assert (grey == 120).all()  # several stages look at a frame
    line = image[347:353, 220:420].reshape(-1, 3)  # the lower edge
    colour = np.asarray(
        {"known": (208, 44, 44), "real": (36, 140, 72), "unknown": (240, 196, 40)}.get(label, (128,) * 3)
    )
    near = np.abs(line - colour).max(axis=1) < 60
    assert near.any()
    assert np.abs(image[250, 320] - 120).max() < 12  # the face itself is not covered


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path / "a.mp4")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert f"cannot write {tmp_path / 'a.mp4'}" in done.stdout


def test_a_program_that_is_killed_leaves_a_video_up_to_its_newest_fragment(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    done = subprocess.run([sys.executable, "-c", BROKEN_OFF, str(path)], cwd=ROOT, check=False)
    assert done.returncode < 0
    times, _ = timing(path)
    assert len(times) >= 60
    assert times == pytest.approx([index / 25 for index in range(len(times))], abs=TICK)


def test_its_codec_settings_keep_packets_in_order() -> None:
    assert all(options["bf"] == "0" for options in encoder.ENCODERS.values())


def with_sound(path: Path, codec: str, container: str | None = None, seconds: int = 2) -> Path:
    """Images at 25 per second and a tone."""
    with av.open(str(path), "w", format=container) as target:
        video = target.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = target.add_stream(codec, rate=48000, layout="mono")
        for index in range(25 * seconds):
            target.mux(video.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), index, np.uint8), "rgb24")))
        size = sound.codec_context.frame_size or 1024
        kind = np.int16 if sound.codec_context.format.name.startswith("s16") else np.float32
        for start in range(0, 48000 * seconds, size):
            tone = np.sin(np.arange(start, start + size) * 0.05) * (8000 if kind is np.int16 else 0.25)
            frame_ = av.AudioFrame.from_ndarray(tone.astype(kind)[None], sound.codec_context.format.name, "mono")
            frame_.sample_rate, frame_.pts, frame_.time_base = 48000, start, Fraction(1, 48000)
            target.mux(sound.encode(frame_))
        for stream in (video, sound):
            target.mux(stream.encode(None))
    return path


def annotate(source: Path, out: Path, until: float | None = None) -> list[str]:
    from protoleak.video.frames import Frame
    from protoleak.video.sources.open import open_source

    notes: list[str] = []
    opened = open_source(str(source))
    video = AnnotatedVideo(out, notes.append)
    video.start(opened.info)
    for item in opened:
        if isinstance(item, Frame) and (until is None or item.timestamp < until):
            video.frame(item, [])
    opened.close()
    video.finish(statistics())
    return notes


def packets(path: Path) -> list[tuple[float, bytes]]:
    """When each packet of sound begins, and what is in it."""
    with av.open(str(path)) as file:
        return [(float(p.pts * p.time_base), bytes(p)) for p in file.demux(audio=0) if p.pts is not None]


@pytest.mark.parametrize(("codec", "name"), [("aac", "a.mp4"), ("aac", "a.ts"), ("ac3", "a.mkv"), ("libopus", "a.mkv")])
def test_the_source_s_sound_is_copied_at_its_own_time(codec: str, name: str, tmp_path: Path) -> None:
    source, out = with_sound(tmp_path / name, codec), tmp_path / "annotated.mp4"
    assert annotate(source, out) == []
    copied = packets(out)
    assert 1.9 < copied[-1][0] < 2.1
    if name != "a.ts":  # there every packet has a head, which MP4 has once for all
        before = packets(source)
        with av.open(str(source)) as file:
            start = float(next(file.decode(video=0)).time)
        assert len(copied) >= len(before) - 2  # what lies before the first image is left out
        kept = before[len(before) - len(copied) :]
        assert [content for _, content in copied] == [content for _, content in kept]
        assert max(abs(then - start - at) for (then, _), (at, _) in zip(kept, copied, strict=True)) < 0.02
    with av.open(str(out)) as file:
        assert sum(1 for _ in file.decode(video=0)) == 50
    with av.open(str(out)) as file:
        assert sum(image.samples for image in file.decode(audio=0)) > 1.9 * 48000
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_sound_ends_with_the_images_where_somebody_stopped_it(tmp_path: Path) -> None:
    out = tmp_path / "annotated.mp4"
    annotate(with_sound(tmp_path / "a.mp4", "aac"), out, until=1.0)
    assert 0.9 < packets(out)[-1][0] < 1.05


def test_sound_that_mp4_does_not_take_is_one_note(tmp_path: Path) -> None:
    out = tmp_path / "annotated.mp4"
    notes = annotate(with_sound(tmp_path / "a.mov", "pcm_s16le"), out)
    assert notes == ["annotated.mp4: the source's sound (pcm_s16le) is left out, because MP4 doesn't take it"]
    assert len(timing(out)[0]) == 50


def test_it_can_be_opened_at_every_moment(tmp_path: Path) -> None:
    """What a killed program leaves is what lies under its name now."""
    out, copy, seen_so_far = tmp_path / "annotated.mp4", tmp_path / "copy.mp4", []
    video = AnnotatedVideo(out)
    video.start(info())
    for index in range(100):
        video.frame(frame(index, index / 25), [])
        copy.write_bytes(out.read_bytes())
        seen_so_far.append(len(timing(copy)[0]))
    video.finish(statistics())
    assert seen_so_far == sorted(seen_so_far)
    assert seen_so_far[-1] >= 60
    assert len(timing(out)[0]) == 100
