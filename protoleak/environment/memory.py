"""Resident memory of this process: what it holds, and the most that it held."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from protoleak.isolation.limits import resident_bytes

PROCESS = Path("/proc/self")
FORGET_PEAK = "5"  # see proc_pid_clear_refs(5)


def resident_mib() -> float:
    """Resident memory in MiB; where the system says only the greatest that there was, that; 0 where it says nothing."""
    held = resident_bytes(os.getpid())
    return (_peak_of_getrusage() or 0.0) if held is None else held / 2**20


def forget_peak(process: Path = PROCESS) -> bool:
    """Makes the peak start again from what is resident now. False where the system cannot (only Linux can)."""
    try:
        (process / "clear_refs").write_text(FORGET_PEAK)
    except OSError:
        return False
    return True


def peak_mib(process: Path = PROCESS) -> float | None:
    """Greatest resident memory in MiB since `forget_peak`, or where that failed since the process began.

    None where the system doesn't say.
    """
    try:
        status = (process / "status").read_text()
    except OSError:
        return _peak_of_getrusage()
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return _peak_of_getrusage()


def _peak_of_getrusage() -> float | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024
