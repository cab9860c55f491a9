"""Corpora on Ray: every image a row, the same rows whatever is killed, and memory with a million listed paths.

    python benchmarks/corpus.py --json benchmarks/results/corpus.json
    python benchmarks/corpus.py --kinds driver --images 400 --kills 4 --json benchmarks/results/corpus.json

The second one replaces in the file what it measures, and leaves the rest.

Everything is made by script, and the bundle is the small one of the tests: what is measured is the machinery and not a
network. `rows`: the images and six broken ones, each a row. `worker`, `driver`: the same with SIGKILL to a worker
every few seconds, or to the whole run, which is then continued; the rows have to be those of the run that nobody
killed, and parts that were there before a kill have to be untouched. `memory`: a list of paths at which nothing is, as
far as it gets in --seconds; the largest memory of the command itself, and of all its processes together, in which pages
that several share are counted once. It exits with status 1 where rows differ or a finished part was done again.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder is there instead

from benchmarks.corpora.kills import kill_drivers, kill_workers
from benchmarks.corpora.memory import memory
from benchmarks.corpora.results import Result
from benchmarks.corpora.runs import BROKEN, command, plain_run, write_images
from protoleak.bundle.writer import write_bundle
from protoleak.environment.processors import processors
from protoleak.files import write_whole
from protoleak.strict_json import json_bytes
from protoleak.version import __version__
from tests.tiny_bundle import tiny_bundle_files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kinds", default="rows,worker,driver,memory", help="rows always come first, but alone for memory"
    )
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
    result = Result(protoleak=__version__, processors=processors(), workers=options.workers, runs={})
    if options.json and options.json.exists():
        result = msgspec.json.decode(options.json.read_bytes(), type=Result)

    def save(line: str) -> None:
        """After every kind: all of them together take long."""
        print(line, flush=True)
        if options.json:
            write_whole(options.json, [json_bytes(result)])

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
