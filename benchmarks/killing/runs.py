"""Runs a command, kills it at random moments until it ends by itself, and counts what came of it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one kind.

    Attributes:
        kills: that hit a running process.
        runs: that were killed until they ended by themselves.
        lost, doubled: results that an ended run lacks, or has twice.
        broken: files that were not valid after a kill, one line each.
    """

    kind: str
    kills: int
    runs: int
    lost: int
    doubled: int
    broken: list[str]


@dataclass
class Kind:
    """A command that is killed.

    Attributes:
        begin, go_on: the command at first, and after a kill.
        look: reads what is on the disk after a kill and returns what is wrong with it.
        count: reads what an ended run has made: lost and doubled results.
        out: what is removed before a new run.
        longest: seconds within which a run is killed: as long as the latest whole one took.
    """

    begin: list[str]
    go_on: list[str]
    look: Callable[[], list[str]]
    count: Callable[[], tuple[int, int]]
    out: Path
    longest: float = field(default=0.0)


def killed(kind: Kind, kills: int, chance: random.Random, name: str, cache: Path) -> Found:
    """Runs the command as often as it takes for so many kills."""
    hit = runs = lost = doubled = 0
    broken: list[str] = []
    kind.longest = _seconds(kind, cache)
    while hit < kills:
        _remove(kind.out)
        runs += 1
        command = kind.begin
        while True:
            begun, process = time.monotonic(), start(command, cache)
            try:
                process.wait(timeout=chance.uniform(0, kind.longest) if hit < kills else None)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                hit += 1
                broken += [f"{name}: {line}" for line in kind.look()]
                command = kind.go_on
                continue
            if command is kind.begin:  # the machine may have become faster or slower
                kind.longest = time.monotonic() - begun
            if process.returncode not in (0, 1):
                broken.append(f"{name}: a run that was continued ended with status {process.returncode}")
            break
        more_lost, more_doubled = kind.count()
        lost, doubled = lost + more_lost, doubled + more_doubled
    return Found(kind=name, kills=hit, runs=runs, lost=lost, doubled=doubled, broken=broken)


def start(command: Sequence[str], cache: Path) -> subprocess.Popen[bytes]:
    """A command of protoleak in a session of its own, on one thread."""
    environment = os.environ | ONE_THREAD | {"PROTOLEAK_CACHE": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-m", "protoleak", *command],
        cwd=ROOT,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _seconds(kind: Kind, cache: Path) -> float:
    """How long the command takes when nobody kills it."""
    _remove(kind.out)
    begun = time.monotonic()
    status = start(kind.begin, cache).wait()
    if status not in (0, 1):
        sys.exit(f"protoleak {' '.join(kind.begin)} ended with status {status} when nobody killed it")
    return time.monotonic() - begun


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
