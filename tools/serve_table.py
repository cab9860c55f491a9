"""Writes the load table of docs/serve.md between its marks, from benchmarks/results/serving.json.

    python tools/serve_table.py

Run it after `benchmarks/serving.py` with `--json benchmarks/results/serving.json`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, its own folder is there instead

from tools.readme_tables import between  # noqa: E402

PAGE = ROOT / "docs" / "serve.md"
RESULTS = ROOT / "benchmarks" / "results" / "serving.json"


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    measured = json.loads(RESULTS.read_text())
    PAGE.write_text(between(text, "load table", load_table(measured)), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


def load_table(measured: dict[str, Any]) -> Iterator[str]:
    """Lines of Markdown: what, on which processor, and a row per engine, batch and number of clients."""
    machine, commit = measured["machine"], measured["commits"]["table"][:7]
    yield (
        f"Measured on {machine['cores']} cores of an {machine['processor']} with the default bundle, "
        f"commit {commit}. The ceiling is `Screener.each` on the same images in the same process, "
        "in turns with the load:"
    )
    yield ""
    yield "| engine | batch at most | clients | requests/s | p50 ms | p95 ms | p99 ms | ceiling, images/s | share |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in measured["table"]:
        which = f"{row['engine']} | {row['batch_maximum']} | {row['clients']}"
        times = " | ".join(f"{row[name]:.0f}" for name in ("p50", "p95", "p99"))
        share = f"{row['ceiling']:.1f} | {row['share_of_ceiling']:.2f}"
        yield f"| {which} | {row['requests_per_second']:.1f} | {times} | {share} |"
    yield ""
    noop, lone, overload = measured["noop"], measured["lone"], measured["overload"]
    codes = overload["codes"]
    yield (
        f"A request that no engine is asked for takes {noop['processor_microseconds_per_request']} µs of processor "
        f"time: {noop['requests_per_second']:.0f} a second in one process. A lone client waits "
        f"{lone['served_p50']:.1f} ms at the median where a direct call takes {lone['direct_p50']:.1f}. "
        f"With {overload['clients']} clients at once and a queue of {overload['queue']}, {codes.get('200', 0)} "
        f"requests were answered and {codes.get('503', 0)} refused, the last refusal after "
        f"{1000 * overload['longest_503_seconds']:.0f} ms."
    )


if __name__ == "__main__":
    main()
