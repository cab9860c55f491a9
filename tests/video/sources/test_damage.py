"""What is broken is said in one line or lies in a gap; no damaged frame comes out, and no sound one is lost unsaid."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from protoleak.video.frames import Frame
from protoleak.video.sources.open import open_source
from tests.video.sources.media import av, cut, fails, level, make_image, number_of, read, scramble, write


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "libx264"), (".mp4", "mpeg4"), (".mov", "mjpeg")])
def test_a_frame_corrupted_in_the_middle_lies_in_a_gap_and_the_rest_comes(
    tmp_path: Path, suffix: str, codec: str
) -> None:
    path = write(tmp_path / f"x{suffix}", codec=codec, movflags="faststart")
    frames, gaps, _ = read(scramble(path, 0.5))
    assert len(gaps) == 1
    (gap,) = gaps
    assert gap.seconds is not None
    assert "left out: damaged" in gap.reason
    # Counted on: the last frame has the index and the time that it has in the sound file.
    assert (frames[-1].index, frames[-1].timestamp) == (59, pytest.approx(2.36))
    missing = set(range(60)) - {frame.index for frame in frames}
    assert 0 < len(missing) <= 20
    assert gap.timestamp == pytest.approx(min(missing) * 0.04)
    assert gap.seconds == pytest.approx(len(missing) * 0.04)
    assert [number_of(frame) for frame in frames] == [frame.index for frame in frames]


def test_no_frame_with_wrong_pixels_comes_out_of_damaged_h264_with_b_frames(tmp_path: Path) -> None:
    """A frame that is shown before the damaged one can rest on it: it must not come out either."""
    path = write(tmp_path / "x.mp4", b_frames=3, movflags="faststart")
    sound = {frame.index: frame.image for frame in read(path)[0]}
    frames, gaps, _ = read(scramble(path, 0.55))
    assert gaps
    assert [frame.index for frame in frames if (frame.image != sound[frame.index]).any()] == []


def test_what_follows_damage_counts_again_from_the_next_key_frame(tmp_path: Path) -> None:
    frames, gaps, _ = read(scramble(write(tmp_path / "x.mp4", movflags="faststart"), 0.5))
    resumed = next(frame for frame in frames if frame.timestamp > gaps[0].timestamp)
    assert resumed.key
    assert resumed.timestamp == pytest.approx(gaps[0].timestamp + (gaps[0].seconds or 0))


def test_a_truncated_mp4_with_its_index_in_front_gives_what_is_there_and_a_gap_without_an_end(tmp_path: Path) -> None:
    frames, gaps, _ = read(cut(write(tmp_path / "x.mp4", movflags="faststart"), 0.5))
    assert 20 <= len(frames) < 40
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert len(gaps) == 1
    assert gaps[0].seconds is None
    assert "the file ends early" in gaps[0].reason
    assert "of its 60 frames are not in it" in gaps[0].reason


def test_a_truncated_mp4_with_its_index_at_the_end_is_one_clear_line(tmp_path: Path) -> None:
    fails(cut(write(tmp_path / "x.mp4"), 0.9), "x.mp4", "truncated", "moov", "copy it again")


def test_a_truncated_matroska_says_how_much_is_missing(tmp_path: Path) -> None:
    frames, gaps, _ = read(cut(write(tmp_path / "x.mkv"), 0.4))
    assert frames
    assert "its header says 2.400 s" in gaps[-1].reason


def test_a_hole_in_the_file_lies_in_a_gap(tmp_path: Path) -> None:
    times = [*range(0, 400, 40), *range(2000, 2400, 40)]
    path = write(tmp_path / "x.mkv", times)
    frames, gaps, _ = read(path)
    assert len(frames) == 20
    assert [(gap.timestamp, gap.seconds) for gap in gaps] == [(pytest.approx(0.4), pytest.approx(1.6))]


def test_an_empty_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").touch()
    fails(tmp_path / "x.mp4", "x.mp4: empty, 0 bytes")


def test_what_is_no_video_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"no video at all" * 1000)
    fails(tmp_path / "x.mp4", "x.mp4: not a video")
    fails(tmp_path / "missing.mp4", "missing.mp4: no such file")
    fails(tmp_path, "a directory")
    os.mkfifo(tmp_path / "pipe.mp4")
    fails(tmp_path / "pipe.mp4", "not a regular file")
    fails("a\0b.mp4", "not a file name")


def test_a_file_that_vanished_since_it_was_listed_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mp4")
    path.unlink()
    fails(path, "no such file")


def test_a_file_that_is_deleted_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mp4")
    source = open_source(str(path))
    path.unlink()
    assert len([item for item in source if isinstance(item, Frame)]) == 60
    source.close()


@pytest.mark.parametrize("start", ["#EXTM3U\n#EXTINF:2,\nsecret.mp4\n", "ffconcat version 1.0\nfile secret.mp4\n"])
@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8"])
def test_a_playlist_is_refused_and_what_it_names_is_not_opened(tmp_path: Path, start: str, name: str) -> None:
    write(tmp_path / "secret.mp4")
    (tmp_path / name).write_text(start)
    fails(tmp_path / name, "a playlist", "refused")


def test_a_name_that_ffmpeg_would_take_for_a_protocol_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "secret.mp4")
    monkeypatch.chdir(tmp_path)
    fails("concat:secret.mp4|secret.mp4", "no such file")
    write(tmp_path / "x.mp4").rename(tmp_path / "subfile,,start,0,end,0,,:x.mp4")
    assert len(read("subfile,,start,0,end,0,,:x.mp4")[0]) == 60


def test_the_video_is_read_rather_than_the_cover_image(tmp_path: Path) -> None:
    """A flag on a stream, not its place, says that it is a cover."""
    from av.stream import Disposition

    path = tmp_path / "x.mp4"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream(codec, rate=25) for codec in ("mjpeg", "libx264")]
        for stream, number in zip(streams, (60, 5), strict=True):
            stream.width, stream.height = (640, 480) if number == 60 else (96, 64)
            stream.pix_fmt = "yuvj420p" if number == 60 else "yuv420p"
        streams[0].disposition = Disposition.attached_pic.value
        for stream, number in zip(streams, (60, 5), strict=True):
            frame = av.VideoFrame.from_ndarray(make_image(number, stream.width, stream.height), "rgb24")
            frame.pts = 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    frames, _, _ = read(path)
    assert [frame.image.shape for frame in frames] == [(64, 96, 3)]
    assert abs(int(frames[0].image[5, 5, 0]) - level(5)) <= 4
