"""What the kernel (Linux) says of other processes: memory, processor time, handles, threads, descendants."""

from __future__ import annotations

import os
from pathlib import Path


def memory_of(pid: int) -> float:
    """Resident memory, in MB."""
    return round(int(_status(pid, "VmRSS")) / 1024, 1)


def proportional_memory_of(pid: int) -> float:
    """Memory in MB, in which pages that n processes share count a share of 1/n; 0 for a process that is gone."""
    for line in text_of(pid, "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1000
    return 0.0


def processor_seconds_of(pid: int) -> float:
    """Processor time that it has used, its own and the kernel's for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def handles_of(pid: int) -> int:
    """Open files and sockets."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 names are enough


def threads_of(pid: int) -> int:
    """How many threads it has."""
    return int(_status(pid, "Threads"))


def descendants(pid: int) -> list[int]:
    """The process itself, and all that it and they have started."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += children.get(one, [])
    return found


def text_of(pid: int, name: str) -> str:
    """A file of /proc/PID; "" for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def _status(pid: int, name: str) -> str:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return line.split()[1]
    raise LookupError(name)
