"""Corpora on Ray: every image a row, the same rows whatever is killed, and memory with a million listed paths.

    python benchmarks/corpus.py --json benchmarks/results/corpus.json
    python benchmarks/corpus.py --kinds driver --images 400 --kills 4 --json benchmarks/results/corpus.json

The first one begins the file anew; the second one replaces in it what it measures, and leaves the rest.

Everything is made by script, and the bundle is the small one of the tests: what is measured is the machinery and not a
network. `rows`: the images and six broken ones, each a row. `worker`, `driver`: the same with SIGKILL to a worker
whenever another part is done, or to the whole run, which is then continued; the rows have to be those of the run that
nobody killed, and parts that were there before a kill have to be untouched. `memory`: a list of paths at which nothing
is, as far as it gets in --seconds; the largest memory of the command itself, and of all its processes together, in
which pages that several share are counted once. It exits with status 1 where rows differ or a finished part was done
again. Where a machine is so busy that Ray's processes take a minute to start, give more --patience.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder is there instead

from protoleak.bundle.bundle import write_bundle
from protoleak.environment.machine import Machine, describe_machine
from protoleak.environment.processors import processors
from tests.tiny_bundle import make_image, tiny_bundle_files

ROOT = Path(__file__).resolve().parents[1]
BROKEN = {
    "cut.jpg": lambda data: data[: len(data) // 2],
    "empty.jpg": lambda _: b"",
    "text.jpg": lambda _: b"no image at all",
    "head.png": lambda _: b"\x89PNG\r\n\x1a\n",
    "tiny.jpg": None,  # fewer pixels than may be judged
    "zeros.jpg": lambda data: bytes(len(data)),
}
KEY = ("source", "sha256", "outcome", "reason", "face", "verdict", "p_value", "log_density")
SECONDS_BETWEEN_SAMPLES = 1.0
SECONDS_TO_END = 300.0
Rows = list[tuple[object, ...]]
KINDS = ("rows", "worker", "driver", "memory")


class Run(msgspec.Struct, kw_only=True):
    """One kind of run.

    Attributes:
        images: whole ones; six broken ones come to them.
        starts: of the command.
        kills: that hit.
        parts_at_kills: finished parts at each of them, of so many as the corpus has blocks.
        rows, distinct: at the end.
        missing, extra: rows compared with the run that nobody killed.
        redone: parts that were there before a kill and were written again.
        seconds: all of it.
        load_average: over the minute before it ended.
    """

    kind: str
    images: int
    starts: int
    kills: int
    parts_at_kills: list[int]
    rows: int
    distinct: int
    missing: int
    extra: int
    redone: int
    seconds: float
    load_average: float = msgspec.field(default_factory=lambda: os.getloadavg()[0])

    def __str__(self) -> str:
        return (
            f"{self.kind}: {self.images} images, {self.starts} starts, {self.kills} kills (at {self.parts_at_kills} "
            f"finished parts), {self.rows} rows, "
            f"{self.distinct} distinct, {self.missing} missing, {self.extra} extra, {self.redone} finished parts done "
            f"again, {self.seconds:.0f} s, load {self.load_average:.1f}"
        )


class Memory(msgspec.Struct, kw_only=True):
    """Megabytes at the peak.

    Attributes:
        listed: paths.
        judged: of them, until the run was stopped.
        command, together: of the command alone, and with all processes of Ray.
    """

    listed: int
    judged: int
    command_mb: float
    together_mb: float
    seconds: float
    load_average: float = msgspec.field(default_factory=lambda: os.getloadavg()[0])

    def __str__(self) -> str:
        return (
            f"memory: {self.listed} paths listed, {self.judged} judged in {self.seconds:.0f} s; command "
            f"{self.command_mb:.0f} MB, with all of Ray's processes {self.together_mb:.0f} MB"
        )


class Result(msgspec.Struct, kw_only=True):
    """All of it, as it is written.

    Attributes:
        patience: seconds without progress after which a run is given up.
    """

    machine: Machine
    processors: int
    workers: int
    patience: float
    runs: dict[str, Run]
    memory: Memory | None = None


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
    own = ["--out", str(out), "--bundle", str(bundle), "--engine", "onnxruntime", "--workers", str(workers)]
    return [sys.executable, "-m", "protoleak", "corpus", str(sources), *own, "--patience", str(patience), *more]


def start(typed: list[str], log: Path) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with log.open("ab") as stream:
        environment = os.environ | {"PYTHONPATH": paths}
        return subprocess.Popen(typed, stdout=stream, stderr=stream, env=environment, start_new_session=True)


def rows_of(out: Path) -> Rows:
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


def descendants(process: int) -> list[int]:
    """Of a process, itself first."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found, waiting = [], [process]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += children.get(one, [])
    return found


def workers_of(process: int) -> list[int]:
    """The processes that judge."""
    return [one for one in descendants(process) if "MapWorker" in _text(one, "cmdline")]


def _text(process: int, name: str) -> str:
    try:
        return Path(f"/proc/{process}/{name}").read_text(errors="replace")
    except OSError:
        return ""


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
        parts_at_kills=[],
        rows=len(rows),
        distinct=len(set(rows)),
        missing=0,
        extra=0,
        redone=0,
        seconds=seconds,
    )
    return run, rows


def kill_workers(typed: list[str], out: Path, log: Path, kills: int, chance: random.Random, expected: Rows) -> Run:
    """Kills one worker after another; Ray starts others in their place."""
    begun, hit, starts = time.monotonic(), 0, 0
    at: list[int] = []
    while hit < kills:
        shutil.rmtree(out, ignore_errors=True)
        process = start(typed, log)
        starts += 1
        seen: set[int] = set()
        done = 0
        while process.poll() is None:
            time.sleep(0.2)
            fresh = [one for one in workers_of(process.pid) if one not in seen]
            if hit < kills and fresh and len(parts_of(out)) > done:  # the work goes on
                time.sleep(chance.uniform(0, 2))
                one = chance.choice(fresh)
                try:
                    os.kill(one, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                seen.add(one)
                hit += 1
                done = len(parts_of(out))
                at.append(done)
        if process.returncode not in (0, 1):
            sys.exit(f"a run whose workers were killed ended with {process.returncode}:\n{log.read_text()[-2000:]}")
    return compared("worker", starts, at, 0, rows_of(out), expected, begun)


def kill_drivers(typed: list[str], out: Path, log: Path, kills: int, chance: random.Random, expected: Rows) -> Run:
    """Kills the whole run at random moments between two finished parts, and continues it."""
    begun, hit, starts, redone = time.monotonic(), 0, 0, 0
    at: list[int] = []
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
                at.append(len(now))
                continue
            if process.wait() not in (0, 1):
                sys.exit(f"a run that was continued ended with {process.returncode}:\n{log.read_text()[-2000:]}")
            now = parts_of(out)
            redone += sum(now.get(name) != file for name, file in before.items())
            break
    return compared("driver", starts, at, redone, rows_of(out), expected, begun)


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
    while any(_text(one, "cmdline") for one in family):
        if time.monotonic() > limit:
            sys.exit(f"{SECONDS_TO_END:g} s after the run was killed, these of its processes are left: {family}")
        time.sleep(0.2)


def compared(kind: str, starts: int, at: list[int], redone: int, rows: Rows, expected: Rows, begun: float) -> Run:
    found, wanted = set(rows), set(expected)
    return Run(
        kind=kind,
        images=len(expected) - len(BROKEN),
        starts=starts,
        kills=len(at),
        parts_at_kills=at,
        rows=len(rows),
        distinct=len(found),
        missing=len(wanted - found),
        extra=len(found - wanted) + len(rows) - len(found),
        redone=redone,
        seconds=time.monotonic() - begun,
    )


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
        sizes = {one: size for one in family if (size := proportional(one))}
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


def proportional(process: int) -> float:
    """Megabytes of a process, in which pages that n processes share count a share of 1/n."""
    for line in _text(process, "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1000
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default=",".join(KINDS), help="rows always come first, but alone for memory")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=10, help="of workers, and as many of the whole run")
    parser.add_argument("--paths", type=int, default=1_000_000, help="for the memory")
    parser.add_argument("--seconds", type=float, default=600, help="for the memory, at most")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--patience", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    chance, kinds = random.Random(options.seed), options.kinds.split(",")
    result = Result(
        machine=describe_machine(), processors=processors(), workers=options.workers, patience=options.patience, runs={}
    )
    if options.json and options.json.exists() and set(kinds) != set(KINDS):
        result = msgspec.json.decode(options.json.read_bytes(), type=Result)

    def save(line: str) -> None:
        """After every kind: all of them together take long."""
        print(line, flush=True)
        if options.json:
            options.json.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        bundle, images, log = folder / "bundle", folder / "images", folder / "log"
        write_bundle(bundle, *tiny_bundle_files())

        def typed(name: str) -> tuple[list[str], Path]:
            out = folder / name
            return command(images, out, bundle, options.workers, options.patience), out

        if set(kinds) & {"rows", "worker", "driver"}:
            write_images(images, options.images)
            first, expected = plain_run(*typed("rows"), log)
            if first.rows != options.images + len(BROKEN) or first.distinct != first.rows:
                sys.exit(f"{first.rows} rows, {first.distinct} distinct, of {options.images + len(BROKEN)} images")
            if "rows" in kinds:
                result.runs["rows"] = first
                save(str(first))
            for name, kill in (("worker", kill_workers), ("driver", kill_drivers)):
                if name in kinds:
                    result.runs[name] = kill(*typed(name), log, options.kills, chance, expected)
                    save(str(result.runs[name]))
        if "memory" in kinds:
            result.memory = memory(folder, bundle, options.paths, options.workers, options.patience, options.seconds)
            save(str(result.memory))
    sys.exit(any(run.missing or run.extra or run.redone for run in result.runs.values()))


if __name__ == "__main__":
    main()
