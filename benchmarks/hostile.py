"""Tries many hostile inputs, made by script from a seed, and fails on anything but one line each.

    python -m benchmarks.hostile --images 10000 --bundles 2000 --videos 500 --json benchmarks/results/hostile.json

A finding is a traceback, an input that should have been refused and wasn't, a hang, much memory, or memory
that grows. Each kind of input is made by a module of tests/hostile, whose quick part runs in CI.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from protoleak.environment.machine import describe_machine
from protoleak.files import write_whole
from protoleak.strict_json import json_bytes
from tests.hostile.media import try_images, try_videos
from tests.hostile.outcomes import Tried, outcome_of_bundle, resident_mib

LONGEST_SECONDS = 5.0  # of processor time: several runs may share a machine
LARGEST_MIB = 512.0  # more memory than before, for one input
LARGEST_GROWTH_MIB = 64.0  # from the middle of a run to its end


def try_bundles(count: int, seed: int, folder: Path) -> Iterator[Tried]:
    """Hostile bundles, each loaded, and used where it is taken."""
    from tests.hostile.bundles import hostile_bundles
    from tests.tiny_bundle import tiny_bundle_files

    for index, hostile in enumerate(hostile_bundles(*tiny_bundle_files(), seed, count)):
        place = folder / str(index)
        place.mkdir()
        outcome = outcome_of_bundle(hostile.write(place / "bundle"), hostile.refused)
        shutil.rmtree(place)
        yield Tried(hostile.kind, f"bundle {index}", outcome)


# What can be tried: the option → how.
TRIALS: dict[str, Callable[[int, int, Path], Iterator[Tried]]] = {
    "images": lambda count, seed, _: try_images(seed, count),
    "bundles": try_bundles,
    "videos": lambda count, seed, folder: try_videos(seed, count, folder),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for what in TRIALS:
        parser.add_argument(f"--{what}", type=int, default=0, metavar="N", help=f"how many hostile {what}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = vars(parser.parse_args())
    found: list[Found] = []
    for what, trial in TRIALS.items():
        if arguments[what]:
            with tempfile.TemporaryDirectory() as folder:
                found.append(_report(what, trial(arguments[what], arguments["seed"], Path(folder))))
            if arguments["json"] is not None:
                facts = {"machine": describe_machine(), "seed": arguments["seed"], "found": found}
                write_whole(arguments["json"], [json_bytes(facts)])
    return 1 if any(one.findings for one in found) else 0


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one kind of input.

    Attributes:
        refused: with one line.
        slowest: seconds of processor time for one.
        largest_mib: more memory than before, for one.
        growth_mib: from the middle of the run to its end.
        findings: what should not be, one line each.
    """

    what: str
    tried: int
    refused: int
    slowest: float
    largest_mib: float
    growth_mib: float
    findings: list[str]


def _report(what: str, tried: Iterator[Tried]) -> Found:
    """Prints findings as they come, then counts."""
    started, kinds, findings = time.perf_counter(), Counter[str](), list[str]()
    slowest: Tried | None = None
    largest: Tried | None = None
    refused, held = 0, [resident_mib()]
    for one in tried:
        kinds[one.kind] += 1
        refused += one.outcome.error is not None
        held.append(resident_mib())
        if largest is None or one.outcome.peak_mib > largest.outcome.peak_mib:
            largest = one
        if slowest is None or one.outcome.processor_seconds > slowest.outcome.processor_seconds:
            slowest = one
        spent = one.outcome
        if spent.finding is not None or spent.processor_seconds > LONGEST_SECONDS or spent.peak_mib > LARGEST_MIB:
            why = spent.finding or f"took {spent.processor_seconds:.1f} s of processor time, {spent.peak_mib:.0f} MiB"
            findings.append(f"{one.name} ({one.kind}): {why}")
            print(f"FINDING {findings[-1]}", flush=True)
    growth = held[-1] - held[len(held) // 2]
    if growth > LARGEST_GROWTH_MIB:
        findings.append(f"{what}: memory grew by {growth:.0f} MiB from the middle of the run to its end")
        print(f"FINDING {findings[-1]}")
    print(f"{what}: {sum(kinds.values())} in {time.perf_counter() - started:.0f} s, {refused} refused with one line")
    for kind, count in sorted(kinds.items()):
        print(f"  {count:6}  {kind}")
    if slowest is not None and largest is not None:
        print(
            f"  slowest: {slowest.name} ({slowest.kind}), {slowest.outcome.processor_seconds:.2f} s of processor time"
        )
        print(f"  largest: {largest.name} ({largest.kind}), {largest.outcome.peak_mib:.0f} MiB more than before")
    print(f"  memory: grew by {growth:.0f} MiB from the middle to the end; findings: {len(findings)}")
    return Found(
        what=what,
        tried=sum(kinds.values()),
        refused=refused,
        slowest=0.0 if slowest is None else slowest.outcome.processor_seconds,
        largest_mib=0.0 if largest is None else largest.outcome.peak_mib,
        growth_mib=growth,
        findings=findings,
    )


if __name__ == "__main__":
    sys.exit(main())
