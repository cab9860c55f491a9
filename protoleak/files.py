"""Files that are whole and valid at every moment, whatever happens while they are written; and the cache folder."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from protoleak.errors import ProtoleakError

OWNER_ONLY, AS_UMASK_SAYS = 0o600, 0o666


def cache_folder(kind: str) -> Path:
    """$PROTOLEAK_CACHE/<kind>, or ~/.cache/protoleak/<kind>, which may not exist: plans, kernels, latents and whatever
    else belongs to this machine and can be made again."""
    root = os.environ.get("PROTOLEAK_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "protoleak") / kind


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a path to write a file or a folder to, which takes the place of `path` when the block ends.

    Until then, and where the block fails, `path` is as it was. Folders above it are made. Where several processes
    replace the same path, the last one wins.

    Raises:
        OSError: the disk refused; `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial.", dir=path.parent) as folder:
        staged, replaced = Path(folder) / "new", Path(folder) / "old"
        yield staged
        if staged.is_dir() and path.exists():  # a folder cannot be renamed onto another one
            path.rename(replaced)
            try:
                staged.rename(path)
            except BaseException:
                replaced.rename(path)
                raise
        else:
            staged.replace(path)


def replace_file(path: Path, parts: Iterable[bytes], *, private: bool = False) -> None:
    """Writes a file so that under its name there is the old content or the new one, never a part, even after a power
    failure. What is no file, such as /dev/stdout, is just written to.

    Args:
        private: for what is executed when it is read again: nobody but the owner may read or write it.

    Raises:
        OSError: the disk refused; what was there stays.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            stream.writelines(parts)
        return
    with replacing(path.resolve()) as staged:
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY if private else AS_UMASK_SAYS)
        with os.fdopen(descriptor, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())


def write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """As `replace_file`, for a file that the user asked for.

    Raises:
        ProtoleakError: the disk refused; what was there stays.
    """
    try:
        replace_file(path, parts)
    except OSError as error:
        raise refused(path, error) from error


def refused(path: Path, error: OSError) -> ProtoleakError:
    """One line on why a file that the user asked for cannot be written."""
    return ProtoleakError(f"cannot write {path}: {error.strerror or error}; free some space or give another place")


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
