"""Freed memory that the process keeps, measured in a process of its own: the setting lasts as long as the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from protoleak.training.memory import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else False
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**21)  # 16 MiB, freed at once
before = faults()
for _ in range(20):
    np.ones(2**21)
print(kept, faults() - before)
"""


def run(mode: str) -> tuple[bool, int]:
    kept, faults = subprocess.check_output([sys.executable, "-c", FAULTS, mode], text=True).split()
    return kept == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_blocks_that_are_freed_are_used_again_without_a_page_fault() -> None:
    """Twenty blocks of 4096 pages; with huge pages there are fewer faults, so both are measured here and now."""
    kept, faults = run("keep")
    assert kept
    assert faults < run("plain")[1] / 10


def test_elsewhere_than_on_glibc_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    from protoleak.training import memory

    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("", ""))
    assert not memory.keep_freed_memory()
