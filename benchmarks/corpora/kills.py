"""SIGKILL to workers of a run, or to the whole of it, and what its rows are afterwards."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.corpora.results import Run
from benchmarks.corpora.runs import Rows, compared, parts_of, rows_of, start
from benchmarks.processes import descendants, text_of

SECONDS_TO_END = 300.0


def kill_workers(typed: list[str], out: Path, log: Path, kills: int, chance: random.Random, expected: Rows) -> Run:
    """Kills one worker after another; Ray starts others in their place."""
    begun, hit, starts = time.monotonic(), 0, 0
    while hit < kills:
        shutil.rmtree(out, ignore_errors=True)
        process = start(typed, log)
        starts += 1
        seen: set[int] = set()
        while process.poll() is None:
            time.sleep(0.2)
            fresh = [one for one in workers_of(process.pid) if one not in seen]
            if hit < kills and fresh and parts_of(out):  # the work goes on
                time.sleep(chance.uniform(0, 2))
                one = chance.choice(fresh)
                try:
                    os.kill(one, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                seen.add(one)
                hit += 1
        if process.returncode not in (0, 1):
            sys.exit(f"a run whose workers were killed ended with {process.returncode}:\n{log.read_text()[-2000:]}")
    return compared("worker", starts, hit, 0, rows_of(out), expected, begun)


def workers_of(process: int) -> list[int]:
    """The processes that judge."""
    return [one for one in descendants(process) if "MapWorker" in text_of(one, "cmdline")]


def kill_drivers(typed: list[str], out: Path, log: Path, kills: int, chance: random.Random, expected: Rows) -> Run:
    """Kills the whole run at random moments between two finished parts, and continues it."""
    begun, hit, starts, redone = time.monotonic(), 0, 0, 0
    while hit < kills:
        shutil.rmtree(out, ignore_errors=True)
        before: dict[str, tuple[int, int]] = {}
        while True:
            process = start([*typed, "--resume"] if out.exists() else typed, log)
            starts += 1
            if hit < kills and wait_for_work(process, out, len(before), chance):
                family = descendants(process.pid)
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                hit += 1
                until_gone(family)
                now = parts_of(out)
                redone += sum(now.get(name) != file for name, file in before.items())
                before = now
                continue
            if process.wait() not in (0, 1):
                sys.exit(f"a run that was continued ended with {process.returncode}:\n{log.read_text()[-2000:]}")
            now = parts_of(out)
            redone += sum(now.get(name) != file for name, file in before.items())
            break
    return compared("driver", starts, hit, redone, rows_of(out), expected, begun)


def wait_for_work(process: subprocess.Popen[bytes], out: Path, parts: int, chance: random.Random) -> bool:
    """Until the run has added a part, and a moment more; False where it ended before."""
    while process.poll() is None:
        if len(parts_of(out)) > parts:
            time.sleep(chance.uniform(0, 1))
            return process.poll() is None
        time.sleep(0.1)
    return False


def until_gone(family: list[int]) -> None:
    """The processes of a killed run end by themselves; a run that is continued meanwhile is no worse for it, but the
    machine has memory for one."""
    limit = time.monotonic() + SECONDS_TO_END
    while any(text_of(one, "cmdline") for one in family):
        if time.monotonic() > limit:
            sys.exit(f"{SECONDS_TO_END:g} s after the run was killed, these of its processes are left: {family}")
        time.sleep(0.2)
