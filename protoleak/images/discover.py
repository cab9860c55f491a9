"""Turns what a user names (files, folders, globs, `-`) into a list of image paths."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from protoleak.errors import MediaError, SkippedInput
from protoleak.images.sources import name_in_messages, printable

IMAGE_SUFFIXES = frozenset(
    {
        ".avif",
        ".bmp",
        ".gif",
        ".heic",
        ".heif",
        ".hif",
        ".jfif",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pgm",
        ".png",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    }
)

MAXIMUM_LIST = 256 * 2**20  # bytes of paths on standard input: two million of the longest usual ones

# Here, so that a folder's videos don't count as skipped where its images are listed.
# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".264", ".265", ".3g2", ".3gp", ".avi", ".dv", ".flv", ".h264", ".h265", ".hevc", ".ivf",
    ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
    ".mxf", ".nut", ".obu", ".ogv", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".y4m",
})
# fmt: on


def expand_sources(sources: Iterable[str], standard_input: BinaryIO, *, null: bool = False) -> list[str | MediaError]:
    """Image paths in a stable order, each once; what names nothing stands in its place as a MediaError.

    Args:
        sources: files (taken whatever their suffix), folders (searched for images below them, sorted by path), glob
            patterns (`**` included, for shells that leave them alone), and `-` for paths on standard input, one a line.
        standard_input: read when one of the sources is `-`; in bytes, because a path need not be UTF-8.
        null: paths on standard input end with NUL, as of `find -print0`, so that they may hold line ends.
    """
    found: list[str | MediaError] = []
    seen: set[str] = set()
    for item in _expand(sources, standard_input, null):
        if isinstance(item, str):
            if item in seen:
                continue
            seen.add(item)
        found.append(item)
    return found


def _expand(sources: Iterable[str], standard_input: BinaryIO, null: bool) -> Iterator[str | MediaError]:
    for source in sources:
        if source == "-":
            try:
                lines = [os.fsdecode(line) for line in _lines(standard_input, null)]
            except MediaError as error:
                yield error
                continue
            paths = [line for line in lines if line.strip()]
            if not paths:
                yield MediaError("-: no path on standard input: give one a line")
            for path in paths:
                yield from _folder(path) if _is_folder(path) else (path,)
        elif _is_folder(source):
            yield from _folder(source)
        elif glob.has_magic(source) and not os.path.lexists(source):
            matches = sorted(glob.glob(source, recursive=True))  # noqa: PTH207 Path.glob refuses absolute patterns
            if not matches:
                yield MediaError(f"{name_in_messages(source)}: no file matches this pattern")
            for match in matches:
                yield from _folder(match) if _is_folder(match) else (match,)
        else:
            yield source


def _lines(standard_input: BinaryIO, null: bool) -> list[bytes]:
    """
    Raises:
        MediaError: that is no list of paths.
    """
    data = standard_input.read(MAXIMUM_LIST + 1)
    if len(data) > MAXIMUM_LIST:
        raise MediaError(f"-: more than {MAXIMUM_LIST // 2**20} MB on standard input: give paths there, one a line")
    if null:
        return data.split(b"\0")
    if b"\0" in data:
        raise MediaError(
            "-: standard input holds NUL bytes, so it is no list of paths, one a line: for one with NUL behind each "
            "give --null, and name an image by its path"
        )
    return [line.rstrip(b"\r") for line in data.split(b"\n")]


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):  # too long a name, or a NUL byte: opening it as a file will say so
        return False


def _folder(folder: str) -> Iterator[str | MediaError]:
    """The images below a folder, sorted; then what is no image, as skipped, and what could not be looked into."""
    unreadable: list[OSError] = []
    images, others = list[str](), list[str]()
    for path in walk(folder, unreadable.append):
        suffix = Path(path).suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            images.append(path)
        elif suffix not in VIDEO_SUFFIXES:
            others.append(path)
    for error in unreadable:
        yield MediaError(f"{name_in_messages(str(error.filename))}: cannot be read: {(error.strerror or '').lower()}")
    if not images and not unreadable:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        yield MediaError(f"{name_in_messages(folder)}: a folder without an image in it (looked for {kinds})")
    yield from sorted(images)
    for path in sorted(others):
        yield left_out(path)


def left_out(path: str) -> SkippedInput:
    """Of a file in a folder whose name isn't that of an image."""
    kind = Path(path).suffix or "no suffix"
    skipped = SkippedInput(f"{name_in_messages(path)}: left out, its name isn't that of an image ({kind})")
    return skipped.about(printable(path), None)


def walk(folder: str, on_error: Callable[[OSError], None] | None = None) -> Iterator[str]:
    """The files below a folder, through symbolic links too; each folder once, however many links lead to it."""
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, onerror=on_error, followlinks=True):
        kept = []
        for name in [".", *sorted(folders)] if place == folder else sorted(folders):
            try:
                status = Path(place, name).stat()
            except OSError:  # gone meanwhile; looking into it would say so
                continue
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                kept.append(name)
        folders[:] = [name for name in kept if name != "."]
        yield from (str(Path(place, name)) for name in files)
