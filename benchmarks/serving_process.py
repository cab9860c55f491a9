"""What the kernel says of a process: memory, handles, threads."""

from __future__ import annotations

import os
from pathlib import Path


def memory_of(pid: int) -> float:
    """Resident memory, in MB."""
    return round(int(_status(pid, "VmRSS")) / 1024, 1)


def handles_of(pid: int) -> int:
    """Open files and sockets."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 names are enough


def threads_of(pid: int) -> int:
    """How many."""
    return int(_status(pid, "Threads"))


def _status(pid: int, name: str) -> str:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return line.split()[1]
    raise LookupError(name)
