"""Turns what a user names (files, folders, globs, `-`) into a list of image paths."""

from __future__ import annotations

import glob
import os
import re
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
MOST_PATHS = 5_000_000
SEPARATORS = tuple({os.sep, os.altsep or os.sep})  # Windows has two

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
                paths = _listed(standard_input, null)
            except MediaError as error:
                yield error
                continue
            if not paths:
                yield MediaError("-: no path on standard input: give one a line")
            for path in paths:
                yield from _folder(path) if _is_folder(path) else (path,)
        elif _is_folder(source):
            yield from _folder(source)
        elif glob.has_magic(source) and not os.path.lexists(source):
            matches = matching(source)
            if not matches:
                yield MediaError(f"{name_in_messages(source)}: no file matches this pattern")
            for match in matches:
                yield from _folder(match) if _is_folder(match) else (match,)
        else:
            yield source


def _listed(standard_input: BinaryIO, null: bool) -> list[str]:
    """The paths on standard input, without empty ones.

    Raises:
        MediaError: that is no list of paths, or one of more than can be gone through.
    """
    data = standard_input.read(MAXIMUM_LIST + 1)
    if len(data) > MAXIMUM_LIST:
        raise MediaError(f"-: more than {MAXIMUM_LIST // 2**20} MB on standard input: give paths there, one a line")
    if not null and b"\0" in data:
        raise MediaError(
            "-: standard input holds NUL bytes, so it is no list of paths, one a line: for one with NUL behind each "
            "give --null, and name an image by its path"
        )
    paths = list[str]()
    for number, found in enumerate(re.finditer(rb"[^\0]+" if null else rb"[^\n]+", data)):  # empty lines cost nothing
        if number == MOST_PATHS:
            raise MediaError(f"-: more than {MOST_PATHS} paths on standard input: give fewer, or a folder")
        if found[0].strip():
            paths.append(os.fsdecode(found[0] if null else found[0].rstrip(b"\r")))
    return paths


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


def matching(pattern: str) -> list[str]:
    """What matches a glob pattern, sorted. `**` stands for folders of any depth, each of them once: `glob.glob` follows
    links that lead back into what they stand in, until the system refuses, which two of them make endless."""
    before, doubled, after = pattern.partition("**")
    alone = (not before or before.endswith(SEPARATORS)) and (not after or after.startswith(SEPARATORS))
    if not doubled or not alone:  # beside other characters it is one *
        return sorted(glob.glob(pattern))  # noqa: PTH207 Path.glob refuses absolute patterns
    found: set[str] = set()
    for root in glob.glob(before) if before else [""]:  # noqa: PTH207
        for place, _ in _folders(root or os.curdir):
            inside = os.path.relpath(place, root or os.curdir)
            if any(part.startswith(".") for part in Path(inside).parts):
                continue
            below = root if inside == os.curdir else os.path.join(root, inside)  # noqa: PTH118 names stay as they are
            rest = after.lstrip("".join(SEPARATORS))
            if below and not rest:
                found.add(below)
            found.update(matching(os.path.join(glob.escape(below), rest or "*")))  # noqa: PTH118
    return sorted(found)


def walk(folder: str, on_error: Callable[[OSError], None] | None = None) -> Iterator[str]:
    """The files below a folder, through symbolic links too; each folder once, however many links lead to it."""
    return (str(Path(place, name)) for place, files in _folders(folder, on_error) for name in files)


def _folders(folder: str, on_error: Callable[[OSError], None] | None = None) -> Iterator[tuple[str, list[str]]]:
    """A folder and those below it, with the names of their files; see `walk`."""
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
        yield place, files
