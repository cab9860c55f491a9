"""Writes the table "What was tried" of docs/security.md from hostile.json, kills.json and soak_*.json.

    python tools/security_table.py

Run it after `benchmarks/hostile.py`, `benchmarks/kills.py` or `benchmarks/soak.py` with `--json` into
benchmarks/results.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, its own folder is there instead

from tools.readme_tables import between  # noqa: E402
from tools.targets import read  # noqa: E402

PAGE = ROOT / "docs" / "security.md"
SOAKS = {"soak_verdicts": "verdicts in one process", "soak_images": "a folder of images through the command line"}


def main() -> None:
    PAGE.write_text(between(PAGE.read_text(encoding="utf-8"), "tried", tried()), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


def tried() -> Iterator[str]:
    """Lines of Markdown: hostile files, killed processes and long runs, and what they showed."""
    yield from ("| what | how much | found |", "|---|---|---|")
    yield hostile_files(read("hostile")["found"])
    yield kills(read("kills")["found"])
    for file, what in SOAKS.items():
        soak = read(file)
        same = soak["threads"][0] is not None and len({*soak["threads"]}) == len({*soak["handles"]}) == 1
        level = "; threads and handles as before" if same else ""
        yield f"| {what} (`{file}.json`) | {soak['count']:,} | memory {100 * soak['growth']:+.3f} %{level} |"
    camera = read("soak_rtsp")
    yield (
        f"| a camera over RTSP that is cut and stalls (`soak_rtsp.json`) | {camera['seconds'] / 60:.0f} minutes, "
        f"{camera['cuts']} cuts, {camera['stalls']} stalls | {camera['gaps']} gaps on record, "
        f"{camera['reconnections']} reconnections, the longest gap {camera['longest_gap']:.1f} s, "
        f"memory {100 * camera['memory']['growth']:+.1f} % |"
    )


def hostile_files(rows: list[dict[str, Any]]) -> str:
    findings = sum(len(row["findings"]) for row in rows)
    found = f"{findings} findings" if findings else "none that gave no single line"
    slowest, largest = max(row["slowest"] for row in rows), max(row["largest_mib"] for row in rows)
    return (
        f"| hostile {listed(row['what'] for row in rows)}, made by script from a seed (`hostile.json`) | "
        f"{listed(format(row['tried'], ',') for row in rows)} | {found}; at most {slowest:.1f} s of processor time "
        f"and {largest:.0f} MiB for one |"
    )


def kills(rows: list[dict[str, Any]]) -> str:
    harm = {name: sum(row[name] for row in rows) for name in ("lost", "doubled")}
    harm["broken"] = sum(len(row["broken"]) for row in rows)
    counts = listed(f"{row['kills']:,} of {row['kind']}" for row in rows)
    found = "nothing lost, doubled or broken"
    if any(harm.values()):
        found = listed(f"{count} {name}" for name, count in harm.items())
    return f"| SIGKILL at random moments, then continued (`kills.json`) | {counts} | {found} |"


def listed(words: Iterable[str]) -> str:
    """ "a, b and c"."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


if __name__ == "__main__":
    main()
