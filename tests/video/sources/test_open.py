"""Images and videos are distinguished by name, and by content where the name doesn't say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

from protoleak.errors import MissingExtra
from protoleak.video.sources import containers
from protoleak.video.sources.open import is_video, open_source, separate
from tests.video.sources.media import write, write_sound


@pytest.mark.parametrize(
    "name", ["0", "12", "rtsp://x/y", "RTSPS://x", "http://x/y.jpg", "https://x", "gst:x", "a.MKV"]
)
def test_addresses_cameras_pipelines_and_video_suffixes_are_videos(name: str) -> None:
    assert is_video(name)


@pytest.mark.parametrize("name", ["a.jpg", "b.gif", "-", "missing", "ftp://x", "1.5", "٣", "a\0b"])
def test_images_and_what_is_unknown_are_not(name: str) -> None:
    assert not is_video(name)


def test_a_file_without_a_known_suffix_is_looked_into(tmp_path: Path) -> None:
    write(tmp_path / "x.mp4").rename(tmp_path / "video")
    write_sound(tmp_path / "x.m4a").rename(tmp_path / "sound")
    Image.new("RGB", (64, 64)).save(tmp_path / "image", "JPEG")
    (tmp_path / "text").write_text("#EXTM3U\nvideo\n")
    assert {path.name: is_video(str(path)) for path in tmp_path.iterdir()} == {
        "video": True,
        "sound": False,
        "image": False,
        "text": False,
    }


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("both/a.jpg", "both/sub/b.mp4", "both/c.AVI", "videos/d.mov", "images/e.png", "videos/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("tree")
def test_folders_are_searched_below_for_videos_and_stay_for_their_images() -> None:
    assert separate(["both", "videos", "images", "empty"]) == (
        ["both", "images", "empty"],
        ["both/c.AVI", "both/sub/b.mp4", "videos/d.mov"],
    )


@pytest.mark.usefixtures("tree")
def test_patterns_give_their_videos_and_stay_for_what_is_none() -> None:
    assert separate(["videos/*.mov"]) == ([], ["videos/d.mov"])
    assert separate(["**/*.jpg", "*.nothing"]) == (["**/*.jpg", "*.nothing"], [])
    assert separate(["both/*"]) == (["both/a.jpg"], ["both/c.AVI", "both/sub/b.mp4"])


@pytest.mark.usefixtures("tree")
def test_a_video_that_is_named_twice_comes_once() -> None:
    assert separate(["videos", "videos/d.mov", "0", "0"]) == ([], ["videos/d.mov", "0"])
    assert separate(["-", "missing.jpg"]) == (["-", "missing.jpg"], [])


@pytest.mark.parametrize("name", ["x.mp4", "rtsp://127.0.0.1:1/x", "http://127.0.0.1:1/x"])
def test_without_pyav_the_error_names_the_extra(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x.mp4")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match=r'pip install "protoleak\[video\]"'):
        open_source(name)


def test_with_isolation_files_are_looked_into_in_a_process_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "clip.mp4").rename(tmp_path / "clip.bin")
    (tmp_path / "text").write_text("no video")

    def in_this_process(*_: object, **__: object) -> None:
        raise AssertionError("opened here")

    monkeypatch.setattr(containers, "open_container", in_this_process)
    names = [str(tmp_path / name) for name in ("clip.bin", "text", ".")]
    assert separate(names, isolate=True) == ([names[1], names[2]], [names[0]])
