"""Turns what a user names (files, folders, globs, `-`) into a list of image paths."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from protoleak.errors import MediaError
from protoleak.images.sources import name_in_messages

IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


def expand_sources(sources: Iterable[str], standard_input: BinaryIO) -> list[str | MediaError]:
    """Image paths in a stable order, each once; what names nothing stands in its place as a MediaError.

    Args:
        sources: files (taken whatever their suffix), folders (searched for images below them, sorted by path), glob
            patterns (`**` included, for shells that leave them alone), and `-` for paths on standard input, one a line.
        standard_input: read when one of the sources is `-`; in bytes, because a path need not be UTF-8.
    """
    found: list[str | MediaError] = []
    seen: set[str] = set()
    for item in _expand(sources, standard_input):
        if isinstance(item, str):
            if item in seen:
                continue
            seen.add(item)
        found.append(item)
    return found


def _expand(sources: Iterable[str], standard_input: BinaryIO) -> Iterator[str | MediaError]:
    for source in sources:
        if source == "-":
            lines = [os.fsdecode(line.rstrip(b"\r\n")) for line in standard_input]
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


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):  # too long a name, or a NUL byte: opening it as a file will say so
        return False


def _folder(folder: str) -> Iterator[str | MediaError]:
    unreadable: list[OSError] = []
    images = []
    for place, folders, files in os.walk(folder, onerror=unreadable.append):
        folders.sort()
        images += [str(Path(place, name)) for name in files if Path(name).suffix.lower() in IMAGE_SUFFIXES]
    for error in unreadable:
        yield MediaError(f"{name_in_messages(str(error.filename))}: cannot be read: {(error.strerror or '').lower()}")
    if not images and not unreadable:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        yield MediaError(f"{name_in_messages(folder)}: a folder without an image in it (looked for {kinds})")
    yield from sorted(images)
