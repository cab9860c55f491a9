"""One writer at a time for a file or a folder, over all processes of a machine."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from protoleak.errors import ProtoleakError
from protoleak.files import AS_UMASK_SAYS, refused, shortened_name, still_named

try:
    import fcntl
except ImportError:  # Windows: nothing holds a second writer back there
    fcntl = None  # type: ignore[assignment]

ELSEWHERE = "wait until it ends, or give another --out"

_held: set[Path] = set()  # lock files of this process: the system's locks exclude other processes only
_held_guard = threading.Lock()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keeps others from writing a file or folder while the block runs, by a lock file beside it, `.NAME.lock`; in a
    folder whose surroundings may not be written, by `.lock`.

    The operating system holds the lock and drops it when the process ends, however it ends: what a killed process left
    behind stops nobody. What is no file, such as /dev/stdout, is not locked, and nothing is on Windows.

    Raises:
        ProtoleakError: another process writes it, or another part of this one; or no lock file can be made there.
    """
    if fcntl is None or (path.exists() and not path.is_file() and not path.is_dir()):
        yield
        return
    place = path.resolve()
    with _held_guard:
        try:
            lock, descriptor = _acquire(place.with_name(f".{shortened_name(place)}.lock"), path)
        except PermissionError as error:
            if not place.is_dir():
                raise refused(path, error) from error
            lock, descriptor = _acquire(place / ".lock", path)
    try:
        yield
    finally:
        with _held_guard:
            with contextlib.suppress(OSError):
                lock.unlink()  # while it is held: whoever opened this file before finds another one under its name
            os.close(descriptor)
            _held.remove(lock)


def _acquire(lock: Path, path: Path) -> tuple[Path, int]:
    """A lock file that this process holds, with its number in it, and its descriptor. It must not be opened again while
    it is held: POSIX drops a process's lock when any descriptor of the file is closed. In return it is not inherited
    by children, which may live longer than this process.

    Raises:
        PermissionError: it may not be made there.
        ProtoleakError: see `locked`.
    """
    if lock in _held:
        raise ProtoleakError(f"{path} is being written by this process already: {ELSEWHERE}")
    while True:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, AS_UMASK_SAYS)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise PermissionError(error.errno, error.strerror) from error
            raise refused(path, error) from error
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if still_named(descriptor, lock):
                os.ftruncate(descriptor, 0)
                with contextlib.suppress(OSError):  # a full disk: the lock holds without the number too
                    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
                _held.add(lock)
                return lock, descriptor
        except OSError as error:
            holder = os.pread(descriptor, 300, 0).decode(errors="replace")
            os.close(descriptor)
            if error.errno in (errno.EACCES, errno.EAGAIN):
                holder = holder.removesuffix(f" on {socket.gethostname()}") or "another process"
                raise ProtoleakError(f"{path} is being written by {holder}: {ELSEWHERE}") from None
            raise refused(path, error) from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
