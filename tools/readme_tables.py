"""Writes the README's numbers between their marks: what `protoleak screen examples/images/` prints, times, verdicts.

    python tools/readme_tables.py

It screens the examples with the default bundle. Of benchmarks/results come times per face (bench_default_bundle*.json,
one file per machine), times of videos (video.json) and of a start (cold_start.json), and verdicts
(evaluate_default_bundle.json). Run it after a new default bundle and its measurements.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, its own folder is there instead

from protoleak import Bundle  # noqa: E402
from protoleak.bench.results import Report as BenchReport  # noqa: E402
from protoleak.environment.machine import Machine  # noqa: E402
from protoleak.evaluation.results import Confusion  # noqa: E402
from protoleak.evaluation.results import Report as EvaluationReport  # noqa: E402
from protoleak.evaluation.tables import brief  # noqa: E402

README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
UNKNOWN, PHOTOGRAPHS = "(unknown)", "real photographs"  # how an evaluation marks what is no class of the bundle


def main() -> None:
    bundle = Bundle.load()
    text = README.read_text(encoding="utf-8")
    text = between(text, "screen output", ["```", *screen_output(), "```"])
    text = between(text, "times", times(bundle))
    text = between(text, "verdicts", verdicts(bundle))
    README.write_text(text, encoding="utf-8")
    print(f"wrote {README.relative_to(ROOT)}")


def between(text: str, mark: str, lines: Iterator[str] | list[str]) -> str:
    """The text with these lines between the marks `<!-- mark -->` and `<!-- /mark -->`."""
    found = re.compile(f"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
    inner = "".join(f"{line}\n" for line in lines)
    text, count = found.subn(lambda match: match[1] + inner + match[2], text)
    if count != 1:
        raise SystemExit(f"there are {count} places for {mark!r}: one is needed")
    return text


def screen_output() -> list[str]:
    """What the README's command prints, in the engine that comes with the package."""
    command = [sys.executable, "-m", "protoleak", "screen", "examples/images/", "--engine", "onnxruntime"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [line.rstrip() for line in done.stdout.strip().splitlines()]


def times(bundle: Bundle) -> Iterator[str]:
    """Milliseconds per face, alone and in the largest batch, per machine, engine and variant."""
    yield from ("| machine | engine | one face | in batches |", "|---|---|---|---|")
    for file in sorted(RESULTS.glob("bench_default_bundle*.json")):
        report = msgspec.json.decode(file.read_bytes(), type=BenchReport)
        note_other_bundle(file, report.bundle.sha256, bundle)
        timed = {(row.name, row.batch): row.timing.per_face for row in report.rows if row.timing is not None}
        alone = {name: time for (name, batch), time in timed.items() if batch == 1}
        largest = max(batch for _, batch in timed)
        for name in sorted(alone, key=lambda name: alone[name]):
            together = f"{timed[name, largest]:.1f} ms in {largest}" if (name, largest) in timed else "–"
            yield f"| {machine_name(report.machine)} | {name} | {alone[name]:.1f} ms | {together} |"
    yield from ("", *other_times())


def other_times() -> Iterator[str]:
    """A start, and frames per second of each size of video, the slowest clip to the fastest."""
    cold, video = (
        json.loads((RESULTS / "cold_start.json").read_text()),
        json.loads((RESULTS / "video.json").read_text()),
    )
    yield f"From typing `protoleak screen IMAGE` to the verdict: {cold['median']:.2f} s"
    yield "([measured](benchmarks/results/cold_start.json) in new processes)."
    rates: dict[str, list[float]] = {}
    for row in video["targets"]:
        if "fps" in row["what"]:
            rates.setdefault(row["what"].rsplit(", ", 1)[1], []).append(row["number"])
    found = [f"{min(some):.0f} to {max(some):.0f} frames a second at {size}" for size, some in rates.items()]
    yield f"Videos, all stages: {' and '.join(found)}"
    yield "([measured](benchmarks/results/video.json) on three clips; the slowest has small faces that run)."


def verdicts(bundle: Bundle) -> Iterator[str]:
    """What is said of real faces, of each class, and of the generators that the bundle doesn't know."""
    file = RESULTS / "evaluate_default_bundle.json"
    report = msgspec.json.decode(file.read_bytes(), type=EvaluationReport)
    if report.bundle.generators != list(bundle.manifest.generators):
        raise SystemExit(
            f"{file.relative_to(ROOT)} is of a bundle with other classes: evaluate the default bundle first"
        )
    note_other_bundle(file, report.bundle.sha256, bundle)
    confusion = report.variants[0].confusion
    real_faces = report.variants[0].real_faces
    assert confusion is not None
    assert real_faces is not None
    yield from ("| images of | number | right | called unknown | wrong |", "|---|---|---|---|---|")
    real = bundle.manifest.real_class or ""
    row = counts(confusion, PHOTOGRAPHS, real)
    accused = f"**accused: {brief(real_faces.accused)}**"
    yield f"| people's photographs, of sources that training never saw | {row[0]} | {row[1]} | {row[2]} | {accused} |"
    if real:
        row = counts(confusion, real, real)
        cells = f"{row[0]} | {row[1]} | {row[2]} | accused: {row[3]}"
        yield f"| people's photographs, of the training's sources | {cells} |"
    for name in bundle.manifest.generators:
        if name != real:
            yield f"| `{name}` | {' | '.join(map(str, counts(confusion, name, name)))} |"
    unknown = [counts(confusion, name, "") for name in confusion.rows if name.endswith(UNKNOWN)]
    total = [sum(column) for column in zip(*unknown, strict=True)]
    right = f"{total[2]} | {total[2]}, which is right"
    yield f"| {len(unknown)} generators that it doesn't know | {total[0]} | {right} | {total[3]} |"


def counts(confusion: Confusion, folder: str, right: str) -> tuple[int, int, int, int]:
    """Images of a folder: all, rightly named, called unknown, wrongly named."""
    row = dict(zip(confusion.columns, confusion.rows[folder], strict=True))
    every, named, unknown = sum(row.values()), row.get(right, 0), row["unknown"]
    return every, named, unknown, every - named - unknown


def machine_name(machine: Machine) -> str:
    return machine.gpu or f"{machine.processor}, {machine.cores} cores"


def note_other_bundle(file: Path, sha256: str, bundle: Bundle) -> None:
    """Says so where a file was measured with other bytes than the default bundle's: a new file in it is enough."""
    if sha256 != bundle.sha256:
        print(f"note: {file.relative_to(ROOT)} was measured with bundle {sha256[:12]}…, not {bundle.sha256[:12]}…")


if __name__ == "__main__":
    main()
