"""Files that are whole and valid at every moment, whatever happens while they are written; and the cache folder."""

from __future__ import annotations

import contextlib
import errno
import glob
import io
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from protoleak.errors import DiskFull, ProtoleakError

OWNER_ONLY, AS_UMASK_SAYS = 0o600, 0o666
LONGEST_NAME = 200  # of a file, in the name of what stands beside it: file systems take 255 bytes
READ_AT_LEAST = 2**16  # bytes
# No room: on the disk, of the user's share, in a file of the allowed size.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def cache_folder(kind: str) -> Path:
    """$PROTOLEAK_CACHE/<kind>, or ~/.cache/protoleak/<kind>, which may not exist: plans, kernels, latents and whatever
    else belongs to this machine and can be made again."""
    root = os.environ.get("PROTOLEAK_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "protoleak") / kind


def written_by_us(path: Path) -> bool:
    """Whether nobody but this user (and root) can have written a file or folder.

    Raises:
        OSError: it isn't there.
    """
    status = path.stat()
    if not hasattr(os, "getuid"):  # Windows
        return True
    return status.st_uid in (os.getuid(), 0) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def open_regular(path: str | os.PathLike[str]) -> io.FileIO:
    """Opens a regular file for reading, unbuffered. Nothing waits, here or in reading: not for a pipe that has taken
    the file's place, nor for what looks like a file and has nothing to give, such as /proc/kmsg: its `read` is None.

    Raises:
        OSError: it cannot be opened, or is none.
    """
    # Neither flag is there on Windows.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    file = io.FileIO(os.open(path, flags), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return file


def read_regular(path: str | os.PathLike[str], most: int) -> bytes:
    """The bytes of a regular file, and one more than `most` where there are more, whatever its size was said to be.

    Raises:
        OSError: it cannot be read, or is none.
    """
    parts, left = [], most + 1
    with open_regular(path) as file:
        # Mostly all of it, so that nothing has to be put together, which takes the memory twice.
        at_once = max(READ_AT_LEAST, os.fstat(file.fileno()).st_size + 1)
        while left and (part := file.read(min(left, at_once))) != b"":
            if part is None:
                raise BlockingIOError(errno.EAGAIN, "Nothing there to read", str(path))
            parts.append(part)
            left -= len(part)
    return b"".join(parts)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a path to write a file or a folder to, which takes the place of `path` when the block ends.

    Until then, and where the block fails, `path` is as it was. Folders above it are made. Where several processes
    replace the same path, the last one wins.

    Raises:
        OSError: the disk refused; `path` is as it was.
    """
    import tempfile  # where it is used: most commands write nothing

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".partial.{shortened_name(path)}.", dir=path.parent) as folder:
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


def remove_partial(path: Path) -> None:
    """Removes what processes that were killed in `replacing` left beside a path. For whoever holds its lock
    (`file_locks.locked`)."""
    for folder in path.parent.glob(f".partial.{glob.escape(shortened_name(path))}.*"):
        shutil.rmtree(folder, ignore_errors=True)


def shortened_name(path: Path) -> str:
    """Of a file's name, as much as fits into another one."""
    return path.name.encode()[:LONGEST_NAME].decode(errors="ignore")


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
    kind = DiskFull if error.errno in NO_ROOM else ProtoleakError
    return kind(f"cannot write {path}: {why_refused(error)}")


def why_refused(error: OSError) -> str:
    """The system's reason and the remedy, for the end of a message about what the disk refused. Not `strerror`, in
    which Arrow puts sentences of its own."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    remedy = "free some space or give another place" if error.errno in NO_ROOM else "give another place"
    return f"{reason}; {remedy}"


def still_named(descriptor: int, path: Path) -> bool:
    """Whether an open file still has this name: the one who held it may have removed it in between."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


class LinesFile:
    """A file to which whole lines are added: after every `append` it holds all of them, and never half of one.

    Args:
        path: of the file.
        mode: "wb" makes it new, "xb" only where there is none, "ab" continues it.

    Raises:
        FileExistsError: it is there, and may not be.
        ProtoleakError: it cannot be made.
    """

    def __init__(self, path: Path, mode: Literal["wb", "xb", "ab"] = "wb") -> None:
        self._path = path
        try:
            self._file = path.open(mode, buffering=0)  # a buffer would keep lines back, and lose them in a crash
        except FileExistsError:
            raise
        except OSError as error:
            raise refused(path, error) from error
        self._end = os.fstat(self._file.fileno()).st_size

    def append(self, line: bytes) -> None:
        """Adds a line, without its end.

        Raises:
            ProtoleakError: the disk refused, and the lines before are as they were; or the file has gone.
        """
        if not still_named(self._file.fileno(), self._path):
            raise ProtoleakError(
                f"{self._path} was removed or replaced while it was written: what was in it is lost; start again with "
                "another --out"
            )
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
