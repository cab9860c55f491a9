"""Inputs are never written or deleted: outputs are compared with them before anything is touched."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from protoleak.errors import ProtoleakError
from protoleak.images.sources import name_in_messages


def refuse_inputs(outputs: Iterable[Path], inputs: Iterable[str | os.PathLike[str]], option: str = "--out") -> None:
    """Checks files that are about to be replaced, continued or deleted, and folders that are about to be replaced.

    Whatever name it has, the file itself is compared: symbolic and hard links too.

    Args:
        outputs: those that are there already are looked at.
        inputs: files, and folders that are read as a whole; what is no file, such as an address, is passed over.
        option: which named the outputs.

    Raises:
        ProtoleakError: an output is an input, or a folder to be replaced holds one.
    """
    existing = [path for path in outputs if path.exists()]
    if not existing:
        return
    read: dict[tuple[int, int], str] = {}
    for given in inputs:
        for path in _files(Path(given)):
            if (identity := _identity(path)) is not None:
                read.setdefault(identity, os.fspath(path))
    for output in existing:
        for path in _files(output):
            name = read.get(_identity(path) or (0, 0))
            if name is not None:
                where = f"{option} would replace {name_in_messages(os.fspath(path))}"
                same = "" if os.fspath(path) == name else f" (the same file as {name_in_messages(name)})"
                raise ProtoleakError(f"{where}{same}, which is read: give another {option}")


def _files(path: Path) -> Iterator[Path]:
    """The file itself, or all files below a folder."""
    try:
        if path.is_dir():
            for place, _, names in os.walk(path):
                yield from (Path(place, name) for name in names)
        elif path.exists():
            yield path
    except (OSError, ValueError):  # no name of a file: an address, a camera's number, a pipeline
        return


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
