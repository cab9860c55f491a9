"""How the C library's allocator serves a process that trains."""

from __future__ import annotations

import ctypes
import platform

# mallopt(3). The parameters are those of glibc's malloc.h, which Python's standard library doesn't name.
TRIM_THRESHOLD, MMAP_MAX = -1, -4
NEVER_TRIM, NO_MAPPINGS = -1, 0


def keep_freed_memory() -> bool:
    """Has this process keep the memory that it frees, for its next allocation. Call it before the first large one.

    glibc gives every large block back to the system at once and asks for it anew, so that each tensor of each step is
    cleared and mapped page by page again: with latents of 32×32×32 that takes several times as long as the arithmetic
    (`benchmarks/training.py`). The price is that the process stays as large as it ever was.

    Returns:
        Whether it was done; elsewhere than on glibc there is nothing to do.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    allocator = ctypes.CDLL(None)
    return bool(allocator.mallopt(MMAP_MAX, NO_MAPPINGS)) and bool(allocator.mallopt(TRIM_THRESHOLD, NEVER_TRIM))
