"""Memory of a run over a list of very many paths."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.corpora.results import Memory
from benchmarks.corpora.runs import command, start
from benchmarks.processes import descendants, proportional_memory_of

SECONDS_BETWEEN_SAMPLES = 1.0


def memory(folder: Path, bundle: Path, paths: int, workers: int, patience: float, seconds: float) -> Memory:
    """A run over a list of so many paths."""
    listed, out = folder / "paths.txt", folder / "million"
    with listed.open("w") as file:
        file.writelines(f"/corpus/of/many/images/{index // 1000:04d}/{index:09d}.jpg\n" for index in range(paths))
    begun = time.monotonic()
    process = start(command(listed, out, bundle, workers, patience), folder / "memory.log")
    alone = together = 0.0
    while process.poll() is None and time.monotonic() - begun < seconds:
        family = descendants(process.pid)
        sizes = {one: size for one in family if (size := proportional_memory_of(one))}
        alone = max(alone, sizes.get(process.pid, 0.0))
        together = max(together, sum(sizes.values()))
        time.sleep(SECONDS_BETWEEN_SAMPLES)
    taken = time.monotonic() - begun
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait()
    elif process.returncode not in (0, 1, 2):
        sys.exit((folder / "memory.log").read_text()[-2000:])
    judged = sum(pq.read_metadata(part).num_rows for part in (out / "verdicts").glob("part-*.parquet"))
    return Memory(listed=paths, judged=judged, command_mb=alone, together_mb=together, seconds=taken)
