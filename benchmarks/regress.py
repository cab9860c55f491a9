"""Which of two commits is faster, and by how much, on this machine: the guard against regressions.

Both are checked out into a temporary folder and measured in turns (base, head, head, base), each in processes of its
own with the same interpreter and libraries. A row is the median of the rounds' ratios, head's time by base's, with a
95 % bootstrap interval: a busy machine widens the interval, and hardly shifts it. Exit status 1 where the interval of
a whole lies beyond --limit, or where head cannot do what base could.

    python benchmarks/regress.py main HEAD --json regress.json
    python benchmarks/regress.py v0.1.0 HEAD --only image --rounds 10 --limit 1.1
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder is there instead

from benchmarks.regression.checkouts import Checkout, checkouts
from benchmarks.regression.ratios import LEAST_ROUNDS, Row, overall, rows_of
from benchmarks.regression.turns import TOTAL, Measure, ProbeFailed, take_turns
from protoleak.environment.machine import describe_machine
from protoleak.errors import ProtoleakError
from protoleak.progress import Progress, no_progress, shown_progress

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 1.05  # what repeated comparisons of a commit with itself stay below by far, see docs/benchmarks.md
PROBE = str(ROOT / "benchmarks" / "regression" / "probe.py")
IMAGES = sorted(str(path) for path in (ROOT / "examples" / "images").iterdir() if path.suffix in (".jpg", ".png"))
CLIP = str(ROOT / "examples" / "clip.mp4")
ENGINES = (("auto", "auto"), ("onnxruntime", "exact"), ("openvino", "exact"), ("openvino", "bf16"))
BATCHES = (1, 16)


def measures(bundle: str | None) -> list[Measure]:
    """What is measured: a new process, images in every engine on the processor, and a video."""
    chosen = ("--bundle", bundle) if bundle else ()
    found = [Measure("cold start", (PROBE, "cold_start", IMAGES[0], *chosen))]
    for engine, compute in ENGINES:
        for batch in BATCHES:
            name = f"image {engine} {compute} batch {batch}"
            options = ("--engine", engine, "--compute", compute, "--batch", str(batch))
            found.append(Measure(name, (PROBE, "images", *IMAGES, *options, *chosen)))
    found.append(Measure("video frame", (PROBE, "video", CLIP, *chosen)))
    return found


def compare(
    base: Checkout,
    head: Checkout,
    chosen: Sequence[Measure],
    *,
    processes: int,
    rounds: int,
    progress: Progress = no_progress,
) -> list[Row]:
    """The rows of all measures, in their order; a measure that fails is a row that says why."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="protoleak-regress-caches-") as caches:
        for measure in chosen:
            try:
                done = take_turns(
                    measure, base, head, processes=processes, rounds=rounds, caches=Path(caches), progress=progress
                )
            except ProbeFailed as error:
                rows.append(not_measured(measure, error, base))
            else:
                rows += rows_of(measure.name, done)
    return rows


def not_measured(measure: Measure, error: ProbeFailed, base: Checkout) -> Row:
    """A measure that failed. Base is opened first, so what neither can do is base's failure, and no regression."""
    side = "base" if error.checkout == base else "head"
    return Row(measure=measure.name, part=TOTAL, why=f"{side}: {error}", held=True, broken=side == "head")


def show(rows: Sequence[Row], base: Checkout, head: Checkout, limit: float, *, stages: bool) -> Table:
    """The table of all wholes, and of their stages where asked for."""
    table = Table(title=f"{head.asked} ({head.commit[:9]}) beside {base.asked} ({base.commit[:9]})")
    for heading in ("measure", "base ms", "head ms", "head / base", "95 % interval", f"limit {limit:g}"):
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    for row in rows:
        if not row.held and not stages:
            continue
        name = row.measure if row.held else f"    {row.part}"
        if row.change is None:
            verdict = "BROKEN" if row.broken else ""
            table.add_row(
                name, *(_number(value) for value in (row.base_ms, row.head_ms)), f"not measured: {row.why}", "", verdict
            )
            continue
        change = row.change
        verdict = ("SLOWER" if row.slower_than(limit) else "within") if row.held else ""
        table.add_row(
            name,
            _number(row.base_ms),
            _number(row.head_ms),
            f"{change.ratio:.3f}",
            f"{change.low:.3f} to {change.high:.3f}",
            verdict,
        )
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def chosen_of(found: Sequence[Measure], only: Sequence[str]) -> list[Measure]:
    """Those that one of the words names, else whose names contain it; all without a word.

    Raises:
        ProtoleakError: a word is in no name.
    """
    for word in only:
        if not any(word in measure.name for measure in found):
            choice = "; ".join(measure.name for measure in found)
            raise ProtoleakError(f"--only {word!r} is in the name of no measure: choose among {choice}")
    names = {measure.name for measure in found}
    return [
        measure
        for measure in found
        if not only or any(word == measure.name or (word not in names and word in measure.name) for word in only)
    ]


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="commit to compare with: a branch, a tag, a SHA-1")
    parser.add_argument("head", nargs="?", default="HEAD", help="commit that is compared; left out, HEAD")
    parser.add_argument("--processes", type=int, default=3, help="pairs of processes, one after another")
    parser.add_argument("--rounds", type=int, default=5, help="base, head, head, base so many times in each pair")
    parser.add_argument("--limit", type=float, default=LIMIT, help="ratio that an interval must not lie beyond")
    parser.add_argument("--only", default="", help="words with commas between: measures whose names contain one")
    parser.add_argument("--bundle", help="one bundle for both commits; left out, each commit's own")
    parser.add_argument("--cpus", help="numbers of the processors to run on, with commas between; left out, all")
    parser.add_argument("--stages", action="store_true", help="show the stages of each measure as well")
    parser.add_argument("--repository", type=Path, default=ROOT, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args(arguments)
    if options.processes < 1 or options.rounds < 1 or options.processes * options.rounds < LEAST_ROUNDS:
        parser.error(f"--processes {options.processes} times --rounds {options.rounds}: {LEAST_ROUNDS} or more in all")
    if options.limit < 1:
        parser.error(f"--limit {options.limit:g}: give 1 or more, such as 1.05 for five per cent slower")
    if options.cpus and not hasattr(os, "sched_setaffinity"):
        parser.error("--cpus needs Linux: leave it out here")
    return options


def main(arguments: Sequence[str] | None = None, found: Sequence[Measure] | None = None) -> int:
    """Exit status: 0 where nothing became slower, 1 where something did or broke, 2 where nothing could be compared.

    Args:
        arguments: of the command line; None for the process's own.
        found: measures in place of this package's own.
    """
    options = parsed(arguments)
    if options.cpus:
        os.sched_setaffinity(0, {int(number) for number in options.cpus.split(",")})
    machine, started = describe_machine(), time.perf_counter()
    bundle = str(Path(options.bundle).resolve()) if options.bundle else None
    try:
        chosen = chosen_of(
            found or measures(bundle), [word.strip() for word in options.only.split(",") if word.strip()]
        )
        with checkouts(options.repository, options.base, options.head) as (base, head), shown_progress() as progress:
            rows = compare(base, head, chosen, processes=options.processes, rounds=options.rounds, progress=progress)
    except ProtoleakError as error:
        print(f"nothing was compared: {error}", file=sys.stderr)
        return 2
    Console(width=None if sys.stdout.isatty() else 150).print(
        show(rows, base, head, options.limit, stages=options.stages)
    )
    mean, seconds = overall(rows), time.perf_counter() - started
    slower = [row for row in rows if row.slower_than(options.limit)]
    if mean is not None:
        print(
            f"all measures together: {mean:.3f} of base's time (geometric mean); measured in {seconds / 60:.1f} minutes"
        )
    for row in slower:
        reason = row.why if row.change is None else f"{row.change.ratio:.3f} ({row.change.low:.3f} or more)"
        print(f"SLOWER {row.measure}: {reason}; the limit is {options.limit:g}")
    if options.json:
        write(options, machine, base, head, rows, mean, seconds)
    if all(row.change is None for row in rows) and not slower:
        print("nothing was compared: no measure can be taken on base", file=sys.stderr)
        return 2
    return 1 if slower else 0


def write(
    options: argparse.Namespace,
    machine: object,
    base: Checkout,
    head: Checkout,
    rows: Sequence[Row],
    mean: float | None,
    seconds: float,
) -> None:
    """The numbers as JSON."""
    result = {
        "what": "time of head by time of base, in turns on one machine",
        "base": {"asked": base.asked, "commit": base.commit, "subject": base.subject},
        "head": {"asked": head.asked, "commit": head.commit, "subject": head.subject},
        "limit": options.limit,
        "processes": options.processes,
        "rounds": options.rounds,
        "bundle": options.bundle,
        "cpus": options.cpus,
        "geometric_mean": mean,
        "seconds": seconds,
        "rows": msgspec.to_builtins(rows),
        "machine": msgspec.to_builtins(machine),
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # takes the two checkouts away
    sys.exit(main())
