"""Runs of `protoleak corpus` on images made by script, and what they leave."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.corpora.results import Run
from tests.tiny_bundle import make_image

ROOT = Path(__file__).resolve().parents[2]
BROKEN = {
    "cut.jpg": lambda data: data[: len(data) // 2],
    "empty.jpg": lambda _: b"",
    "text.jpg": lambda _: b"no image at all",
    "head.png": lambda _: b"\x89PNG\r\n\x1a\n",
    "tiny.jpg": None,  # fewer pixels than may be judged
    "zeros.jpg": lambda data: bytes(len(data)),
}
KEY = ("source", "sha256", "outcome", "reason", "face", "verdict", "p_value", "log_density")
Rows = list[tuple[object, ...]]


def write_images(folder: Path, count: int) -> None:
    """JPEGs of all kinds, and six broken ones."""
    folder.mkdir(parents=True)
    for index in range(count):
        Image.fromarray(make_image((0, 1, 2, None)[index % 4], index)).save(folder / f"{index:06d}.jpg", quality=90)
    whole = (folder / "000000.jpg").read_bytes()
    for name, damage in BROKEN.items():
        if damage is None:
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / name)
        else:
            (folder / name).write_bytes(damage(whole))


def command(sources: Path, out: Path, bundle: Path, workers: int, patience: float, *more: str) -> list[str]:
    """What is typed for a run.

    Args:
        patience: seconds, as `--patience`.
    """
    own = ["--out", str(out), "--bundle", str(bundle), "--engine", "onnxruntime", "--workers", str(workers)]
    return [sys.executable, "-m", "protoleak", "corpus", str(sources), *own, "--patience", str(patience), *more]


def start(typed: list[str], log: Path) -> subprocess.Popen[bytes]:
    """A run in a session of its own, whose output goes to the log."""
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with log.open("ab") as stream:
        environment = os.environ | {"PYTHONPATH": paths}
        return subprocess.Popen(typed, stdout=stream, stderr=stream, env=environment, start_new_session=True)


def rows_of(out: Path) -> Rows:
    """All rows of a run's parts: the values of the columns KEY."""
    found: Rows = []
    for part in sorted((out / "verdicts").glob("part-*.parquet")):
        columns = pq.read_table(part, columns=list(KEY), partitioning=None)
        found += list(zip(*(columns[name].to_pylist() for name in KEY), strict=True))
    return found


def parts_of(out: Path) -> dict[str, tuple[int, int]]:
    """Part → its inode and time: a part that is written again is another file."""
    found = {}
    for part in (out / "verdicts").glob("part-*.parquet"):
        status = part.stat()
        found[part.name] = (status.st_ino, status.st_mtime_ns)
    return found


def plain_run(typed: list[str], out: Path, log: Path) -> tuple[Run, Rows]:
    begun = time.monotonic()
    process = start(typed, log)
    if process.wait() not in (0, 1):
        sys.exit(f"a run that nobody killed ended with status {process.returncode}:\n{log.read_text()[-2000:]}")
    rows = rows_of(out)
    seconds = time.monotonic() - begun
    run = Run(
        kind="rows",
        images=len(rows) - len(BROKEN),
        starts=1,
        kills=0,
        rows=len(rows),
        distinct=len(set(rows)),
        missing=0,
        extra=0,
        redone=0,
        seconds=seconds,
    )
    return run, rows


def compared(kind: str, starts: int, kills: int, redone: int, rows: Rows, expected: Rows, begun: float) -> Run:
    found, wanted = set(rows), set(expected)
    return Run(
        kind=kind,
        images=len(expected) - len(BROKEN),
        starts=starts,
        kills=kills,
        rows=len(rows),
        distinct=len(found),
        missing=len(wanted - found),
        extra=len(found - wanted) + len(rows) - len(found),
        redone=redone,
        seconds=time.monotonic() - begun,
    )
