"""Files that are whole and valid at every moment, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from protoleak.errors import ProtoleakError


def refused(path: Path, error: OSError) -> ProtoleakError:
    """One line on why a file cannot be written."""
    return ProtoleakError(f"cannot write {path}: {error.strerror or error}; free some space or give another --out")


def write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """Writes a file so that under its name there is the old content or the new one, never a part.

    Raises:
        ProtoleakError: the disk refused; what was there stays.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise refused(path, error) from error
        raise


def cache_folder() -> Path:
    """$PROTOLEAK_CACHE, or ~/.cache/protoleak: where plans and latents that belong to this machine are kept. It may not
    exist."""
    root = os.environ.get("PROTOLEAK_CACHE")
    return Path(root) if root else Path.home() / ".cache" / "protoleak"


class LinesFile:
    """A file to which whole lines are added: after every `append` it holds all of them, and never half of one.

    Args:
        path: made new.

    Raises:
        ProtoleakError: it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._end = 0
        try:
            self._file = path.open("wb", buffering=0)  # a buffer would keep lines back, and lose them in a crash
        except OSError as error:
            raise refused(path, error) from error

    def append(self, line: bytes) -> None:
        """Adds a line, without its end.

        Raises:
            ProtoleakError: the disk refused; the lines before are as they were.
        """
        rest = memoryview(line + b"\n")
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except BaseException as error:  # Ctrl-C too may come between two parts of a line
            with contextlib.suppress(OSError):  # the file is as valid as the disk lets it be; the first error says why
                self._file.truncate(self._end)
                self._file.seek(self._end)
            if isinstance(error, OSError):
                raise refused(self._path, error) from error
            raise
        self._end += len(line) + 1

    def close(self) -> None:
        """May be called more than once."""
        self._file.close()
