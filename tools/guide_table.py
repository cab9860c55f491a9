"""Writes what enrolment and discovery are worth into docs/unknown_generator.md, between its marks.

    python tools/guide_table.py

Run it after `tools/default_bundle/newcomers.py` and `benchmarks/discover.py` with --json and their files in
benchmarks/results.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, its own folder is there instead

from tools.readme_tables import between  # noqa: E402

PAGE = ROOT / "docs" / "unknown_generator.md"
NEWCOMERS, DISCOVERED = (ROOT / "benchmarks" / "results" / f"{name}.json" for name in ("newcomers", "discover"))
FROM = (20, 40, 80)  # images that a generator was enrolled from
PURE, ENOUGH = 0.9, 20  # what was asked for: purity of a stream's clusters, and images in a cluster of each generator


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    text = between(text, "enrolled", enrolled(json.loads(NEWCOMERS.read_text())))
    PAGE.write_text(between(text, "discovered", discovered(json.loads(DISCOVERED.read_text()))), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


def enrolled(found: dict[str, Any]) -> Iterator[str]:
    """A row per generator: how many of its test images are named, and how many photographs are accused."""
    rows = {(row["generator"], row["images"]): row for row in found["rows"] if not row.get("with_photographs", False)}
    counts = [f"from {images}" for images in FROM]
    header = ["generator, its test images", *counts, "full training", "photographs accused before", *counts]
    yield f"| {' | '.join(header)} |"
    yield "|---" * len(header) + "|"
    for name, count in found["of"]["named"].items():
        named = [_cell(rows.get((name, images)), "named") for images in (*FROM, "full training")]
        accused = [_cell(rows.get((name, images)), "photographs_accused") for images in (0, *FROM)]
        yield f"| `{name}`, {count} | {' | '.join([*named, *accused])} |"
    more = {
        name: max(row["cameras_accused"] for (of, images), row in rows.items() if of == name and images in FROM)
        - rows[name, 0]["cameras_accused"]
        for name in found["of"]["named"]
    }
    said = ", ".join(f"{value:g} more are accused with `{name}`" for name, value in more.items() if value > 0)
    yield ""
    yield f"Of {found['of']['cameras_accused']} test photographs by the cameras of training, {said or 'none more is'}."


def discovered(found: dict[str, Any]) -> Iterator[str]:
    """Purity and sizes of clusters over all streams, in a sentence."""
    streams = [
        row for run in found["runs"] for row in run["rows"] if row["space"] == "traces" and row["stream"] == "all"
    ]
    purity = [row["purity"] for row in streams]
    sizes = [size for row in streams for size in row["largest_cluster_of"].values()]
    pure, enough = sum(one >= PURE for one in purity), sum(size >= ENOUGH for size in sizes)
    yield (
        f"Discovery, in {len(streams)} streams of three generators that the bundle never saw, half of them "
        f"photographs: purity is {mean(purity):.2f} on average, {min(purity):.2f} in the worst (at least {PURE:g} was "
        f"the aim, and {pure} of {len(streams)} have it), and {enough} of {len(sizes)} generators have a cluster of "
        f"{ENOUGH} images or more (all was the aim{_too_few(found)})."
    )
    unmarked = sum(row["photograph_clusters_not_marked"] for row in streams)
    marked = sorted({name for row in streams for name in row["generators_marked_too"]})
    clusters = (
        f"{unmarked} clusters of photographs were not marked" if unmarked else "Every cluster of photographs was marked"
    )
    names = ", ".join(f"`{name}`" for name in marked)
    yield f"{clusters}, and so were some of {names} ([all figures](decisions/0034-discovery.md))."


def _too_few(found: dict[str, Any]) -> str:
    counts = {name: count for run in found["runs"] for name, count in run["unseen"].items() if count < ENOUGH}
    return "".join(f"; of `{name}` there were only {count}" for name, count in counts.items())


def _cell(row: dict[str, Any] | None, value: str) -> str:
    return "" if row is None else f"{row[value]:g}"


if __name__ == "__main__":
    main()
