"""What a user names becomes a list of images; what names nothing says so in its place."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from protoleak.errors import MediaError, SkippedInput
from protoleak.images import discover
from protoleak.images.discover import expand_sources

pytestmark = pytest.mark.usefixtures("tree")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.jpg", "a.PNG", "sub/c.webp", "sub/deep/d.jpeg", "sub/notes.txt", "e[1].png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def expand(*sources: str, standard_input: bytes = b"") -> list[str | MediaError]:
    """What is found, without what is left out on purpose."""
    found = expand_sources(sources, io.BytesIO(standard_input))
    return [item for item in found if not isinstance(item, SkippedInput)]


def test_folder_is_searched_below_for_images_only_in_a_stable_order(tree: Path) -> None:
    assert expand(str(tree)) == [
        str(tree / name) for name in ("a.PNG", "b.jpg", "e[1].png", "sub/c.webp", "sub/deep/d.jpeg")
    ]


def test_named_file_is_taken_whatever_its_suffix() -> None:
    assert expand("sub/notes.txt", "missing.jpg") == ["sub/notes.txt", "missing.jpg"]


def test_patterns_match_files_also_through_folders() -> None:
    assert expand("*.jpg") == ["b.jpg"]
    assert expand("**/*.jpeg") == ["sub/deep/d.jpeg"]


def test_file_whose_name_looks_like_a_pattern_is_a_file() -> None:
    assert expand("e[1].png") == ["e[1].png"]


def test_each_image_comes_once() -> None:
    assert expand("b.jpg", "*.jpg", "b.jpg") == ["b.jpg"]


def test_paths_come_from_standard_input() -> None:
    assert expand("-", standard_input=b"b.jpg\r\n\nmissing\xe9.png\nsub\n") == [
        "b.jpg",
        os.fsdecode(b"missing\xe9.png"),
        "sub/c.webp",
        "sub/deep/d.jpeg",
    ]


@pytest.mark.parametrize("source", ["*.tiff", "bare", "-"])
def test_source_that_names_nothing_is_an_error_in_its_place(tree: Path, source: str) -> None:
    (tree / "bare").mkdir()
    first, failure, last = expand("b.jpg", source, "a.PNG")
    assert (first, last) == ("b.jpg", "a.PNG")
    assert isinstance(failure, MediaError)
    assert source in str(failure)


def test_what_is_left_out_of_a_folder_is_named(tree: Path) -> None:
    (tree / "clip.mp4").touch()  # videos are found elsewhere
    (left_out,) = [item for item in expand_sources([str(tree)], io.BytesIO()) if isinstance(item, SkippedInput)]
    assert "notes.txt" in str(left_out)
    assert left_out.source == str(tree / "sub" / "notes.txt")


def test_links_to_folders_are_followed_once_and_in_no_circle(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "z.heic").touch()
    (tree / "link").symlink_to(elsewhere)
    (tree / "link2").symlink_to(elsewhere)
    (tree / "sub" / "circle").symlink_to(tree)
    names = [Path(item).name for item in expand(str(tree)) if isinstance(item, str)]
    assert sorted(names) == ["a.PNG", "b.jpg", "c.webp", "d.jpeg", "e[1].png", "z.heic"]


@pytest.mark.parametrize(
    "given", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\n\n", b"a.png\0b.png\0", b"x" * 101], ids=["image", "NUL", "much"]
)
def test_what_is_no_list_of_paths_is_one_line(given: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discover, "MAXIMUM_LIST", 100)
    found = expand("-", "named.png", standard_input=given)
    assert [type(one) for one in found] == [MediaError, str]
    assert str(found[0]).startswith("-: ")


def test_paths_on_standard_input_may_end_with_nul() -> None:
    given = io.BytesIO(b"b.jpg\0two\nlines.png\0")
    assert expand_sources(["-"], given, null=True) == ["b.jpg", "two\nlines.png"]


def test_a_pattern_goes_through_each_folder_once_however_links_lead_back(tree: Path) -> None:
    for name in ("sub/again", "sub/deep/again"):
        (tree / name).symlink_to(tree, target_is_directory=True)
    assert expand("**/*.jpeg") == ["sub/deep/d.jpeg"]
    assert expand(f"{tree}/**/d*.jpeg") == [str(tree / "sub/deep/d.jpeg")]


def test_hidden_folders_are_no_part_of_a_pattern(tree: Path) -> None:
    (tree / ".cache").mkdir()
    (tree / ".cache" / "x.jpeg").touch()
    assert expand("**/*.jpeg") == ["sub/deep/d.jpeg"]


def test_a_list_of_empty_lines_costs_nothing_and_one_of_too_many_paths_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert expand("-", standard_input=b"\n" * 10_000_000 + b"b.jpg\n") == ["b.jpg"]
    monkeypatch.setattr(discover, "MOST_PATHS", 3)
    (failure,) = expand("-", standard_input=b"a\n" * 4)
    assert "more than 3 paths" in str(failure)
