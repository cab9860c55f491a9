"""What a worker process may use; it puts the limits on itself before it reads anything."""

from __future__ import annotations

import os
from dataclasses import astuple, dataclass
from pathlib import Path

MEGABYTE = 2**20


@dataclass(frozen=True)
class Limits:
    """Of one worker.

    Attributes:
        processor_seconds: of processor time for one request.
        wall_seconds: for one request, from sending it until all of the answer has come.
        memory: bytes beyond those that the worker has at its start.
    """

    processor_seconds: int = 4
    wall_seconds: float = 4.5
    memory: int = 512 * MEGABYTE

    def as_list(self) -> list[float]:
        """For `Limits(*list)` in another process."""
        return list(astuple(self))


def limit_files() -> None:
    """Of this process, for good: files that it writes (none), core dumps (none)."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def limit_memory(limits: Limits) -> None:
    """Of this process, for good: the memory that it asks for, and as `limit_files`."""
    import resource

    limit_files()
    statistics = Path("/proc/self/statm")
    if statistics.exists():  # macOS doesn't hold processes to this limit
        used = int(statistics.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + limits.memory, used + limits.memory))


def limit_processor_time(limits: Limits) -> None:
    """Of this process, from now on: it is ended by SIGXCPU when it is used up. May be called again, for more."""
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(usage.ru_utime + usage.ru_stime) + 1 + int(limits.processor_seconds)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def resident_bytes(process: int) -> int | None:
    """The resident memory of a process, for a limit on what it really uses: engines reserve far more. None where
    the system doesn't say, or the process has gone."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return None
