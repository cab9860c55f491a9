"""Files give every frame with its own timestamp, upright, whatever their rate, size and rotation."""

from __future__ import annotations

import gc
import hashlib
import shutil
import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from protoleak.video.frames import Gap
from protoleak.video.sources.open import open_source
from tests.video.sources.media import av, fails, make_image, number_of, read, write, write_sound

VARIABLE = [0, 33, 100, 104, 300, 310, 320, 900, 940, 1500]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_frames_of_a_variable_rate_keep_their_own_timestamps(tmp_path: Path, suffix: str) -> None:
    frames, _, notes = read(write(tmp_path / f"variable{suffix}", VARIABLE))
    np.testing.assert_allclose([frame.timestamp for frame in frames], np.array(VARIABLE) / 1000, atol=1e-9)
    assert [frame.index for frame in frames] == list(range(len(VARIABLE)))
    assert notes == ()


def test_b_frames_come_in_the_order_in_which_they_are_shown(tmp_path: Path) -> None:
    frames, gaps, _ = read(write(tmp_path / "b.mp4", b_frames=3))
    assert [number_of(frame) for frame in frames] == list(range(60))
    np.testing.assert_allclose([frame.timestamp for frame in frames], np.arange(60) * 0.04, atol=1e-9)
    assert gaps == []


def test_key_frames_are_marked_and_pixels_cannot_be_written_to(tmp_path: Path) -> None:
    frames, _, _ = read(write(tmp_path / "x.mp4"))
    assert [frame.index for frame in frames if frame.key] == [0, 20, 40]
    assert not frames[0].image.flags.writeable


@pytest.mark.parametrize("start", [0, 5000])
def test_time_starts_at_the_first_frame_wherever_the_container_starts(tmp_path: Path, start: int) -> None:
    frames, _, _ = read(write(tmp_path / "x.ts", range(start, start + 400, 40)))
    np.testing.assert_allclose([frame.timestamp for frame in frames], np.arange(10) * 0.04, atol=1e-9)


@pytest.mark.parametrize(
    ("degrees", "turns", "note"), [(90, -1, "90° clockwise"), (270, 1, "90° anticlockwise"), (180, 2, "180°")]
)
def test_a_rotated_video_stands_upright_and_says_so(tmp_path: Path, degrees: int, turns: int, note: str) -> None:
    path = write(tmp_path / "turned.mp4", rotate=degrees)
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24")
    frames, _, notes = read(path)
    np.testing.assert_array_equal(frames[0].image, np.rot90(stored, turns))
    assert len(notes) == 1
    assert note in notes[0]
    info = open_source(str(path)).info
    assert (info.width, info.height) == (frames[0].image.shape[1], frames[0].image.shape[0])


@pytest.mark.parametrize(("width", "height"), [(97, 65), (99, 64), (96, 67)])
def test_odd_sizes_are_kept(tmp_path: Path, width: int, height: int) -> None:
    frames, _, _ = read(write(tmp_path / "odd.mkv", range(0, 200, 40), width=width, height=height))
    assert {frame.image.shape for frame in frames} == {(height, width, 3)}
    # The noise below is not smeared over a wrong row length: the codec keeps the flat half flat.
    assert abs(frames[0].image[2:20].astype(int) - make_image(0, width, height)[2:20]).max() <= 4


def test_a_stream_without_timestamps_gets_them_from_its_rate_with_a_note(tmp_path: Path) -> None:
    frames, _, notes = read(write(tmp_path / "raw.h264"))
    np.testing.assert_allclose([frame.timestamp for frame in frames], np.arange(60) * 0.04, atol=1e-9)
    assert notes == ("frames without a timestamp: 25 frames per second are assumed",)


def test_motion_jpeg_without_timestamps_is_read_as_well(tmp_path: Path) -> None:
    frames, _, _ = read(write(tmp_path / "x.mjpeg", range(0, 400, 40), codec="mjpeg"))
    assert [frame.index for frame in frames] == list(range(10))
    assert all(later.timestamp > frame.timestamp for frame, later in pairwise(frames))


def test_two_parts_with_their_own_clocks_run_on_with_a_note(tmp_path: Path) -> None:
    once = write(tmp_path / "x.ts", range(0, 2000, 40)).read_bytes()
    (tmp_path / "twice.ts").write_bytes(once + once)
    frames, gaps, notes = read(tmp_path / "twice.ts")
    # The transport stream's own counters say that something is missing at the seam: the frames there are left out.
    assert len(gaps) == 1
    assert len(frames) < frames[-1].index + 1 == 100
    np.testing.assert_allclose([frame.timestamp for frame in frames], [frame.index * 0.04 for frame in frames])
    assert any("clock starts again" in note for note in notes)


def test_colours_are_those_of_the_ffmpeg_command(tmp_path: Path) -> None:
    """An independent reading: another build of FFmpeg, in another process."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("the ffmpeg command is not installed")
    path = write(tmp_path / "x.mp4", range(0, 400, 40))
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    expected = np.frombuffer(raw, np.uint8).reshape(-1, 64, 96, 3)
    frames, _, _ = read(path)
    # The command interpolates chroma bicubically, PyAV bilinearly: noise differs by some levels, the flat half by none.
    flat = [abs(frame.image[:28].astype(int) - other[:28]).max() for frame, other in zip(frames, expected, strict=True)]
    assert max(flat) <= 1


def test_info_says_what_the_file_is(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mp4")
    source = open_source(str(path))
    info = source.info
    assert (info.name, info.kind, info.live) == (str(path), "file", False)
    assert (info.width, info.height, info.rate, info.duration) == (96, 64, Fraction(25), pytest.approx(2.4))
    assert info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    source.close()


def test_a_closed_file_gives_nothing_more_and_may_be_closed_again(tmp_path: Path) -> None:
    source = open_source(str(write(tmp_path / "x.mp4")))
    items = iter(source)
    assert not isinstance(next(items), Gap)
    source.close()
    source.close()
    assert list(items) == []


def test_sound_beside_the_images_changes_nothing_and_sound_alone_is_an_error(tmp_path: Path) -> None:
    fails(write_sound(tmp_path / "sound.m4a"), "sound.m4a", "no video", "audio")


def test_the_shared_clip_is_read_to_the_last_frame_at_its_own_times(shared: Path) -> None:
    clip = shared / "data" / "video" / "short_hamilton_clip.mp4"
    if not clip.is_file():
        pytest.skip(f"{clip.name} is not in the shared data")
    with av.open(str(clip)) as container:  # the container's own packets, without decoding
        stream = container.streams.video[0]
        stamps = sorted(packet.pts * packet.time_base for packet in container.demux(stream) if packet.pts is not None)
    frames, gaps, notes = read(clip)
    assert len(frames) == len(stamps) == 275
    assert [frame.timestamp for frame in frames] == [float(stamp - stamps[0]) for stamp in stamps]
    assert len({frame.timestamp for frame in frames}) == 275
    assert (gaps, notes) == ([], ())


def test_images_that_were_read_are_let_go_without_the_cyclic_collector(tmp_path: Path) -> None:
    """It comes after hundreds of objects, and each image may have megabytes."""
    path = write(tmp_path / "clip.mp4")
    gc.collect()
    gc.disable()
    try:
        assert sum(1 for _ in open_source(str(path))) == 60
        left = sum(type(each) is av.VideoFrame for each in gc.get_objects())
    finally:
        gc.enable()
    assert left <= 4  # those that the decoder holds, and the first, whose display matrix was looked at
