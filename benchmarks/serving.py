"""How much a server gets out of an engine, and whether it keeps what it promises under load and at its end.

    python benchmarks/serving.py --json benchmarks/results/serving.json
    python benchmarks/serving.py --only soak --minutes 30

The load table has requests a second and latencies for 1, 8 and 32 clients that keep their connections, with engines and
batch sizes, against the bare ceiling: `each(batch_size=8)` on the same images, which takes turns with the clients in
the same run, so that a machine that is busy with other things slows both. On a machine that is, trust the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder is there instead

from benchmarks.processes import processor_seconds_of
from benchmarks.servers import checks
from protoleak.environment.machine import describe_machine
from protoleak.environment.versions import source_commit
from protoleak.screener import Screener
from tests.serving.clients import Tally, keep_asking, request_of
from tests.serving.running import RunningServer

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "images"
SIDE = 512
CROPS = 32  # as many as there are clients at most
PARTS = ("install", "ready", "table", "lone", "noop", "overload", "endings", "killed", "dropped", "strace", "soak")


def images() -> list[bytes]:
    """Crops of an example, no two alike, as JPEGs of 512×512 pixels: equal images of a batch are encoded once."""
    found = []
    whole = Image.open(sorted(EXAMPLES.glob("*.jpg"))[0]).convert("RGB").resize((SIDE + CROPS, SIDE + CROPS))
    for place in range(CROPS):
        buffer = io.BytesIO()
        whole.crop((place, 0, place + SIDE, SIDE)).save(buffer, "JPEG", quality=90)
        found.append(buffer.getvalue())
    return found


def clients(port: int, data: list[bytes], count: int, seconds: float) -> dict[str, float]:
    """Requests a second and latencies in milliseconds of so many clients, each with an image of its own."""
    tally = Tally()
    requests = [request_of(data[place % len(data)], kind="image/jpeg") for place in range(count)]

    async def load() -> None:
        until = time.monotonic() + seconds
        await asyncio.gather(*(keep_asking(port, request, tally, until) for request in requests))

    started = time.perf_counter()
    asyncio.run(load())
    spent = time.perf_counter() - started
    taken = sorted(tally.seconds.get("200", [0.0]))
    if set(tally.codes) != {"200"}:
        print(f"not all were 200: {dict(tally.codes)}", file=sys.stderr)
    return {"requests_per_second": len(taken) / spent} | {
        f"p{share}": 1000 * taken[min(len(taken) - 1, int(share / 100 * len(taken)))] for share in (50, 95, 99)
    }


def bare(screener: Screener, data: list[bytes], seconds: float) -> float:
    """Images a second of `each(batch_size=8)`."""
    count, started = 0, time.perf_counter()
    while time.perf_counter() < started + seconds:
        count += sum(1 for _ in screener.each(data[place % len(data)] for place in range(8)))
    return count / (time.perf_counter() - started)


def table(
    engines: list[str], batches: list[int], counts: list[int], seconds: float, rounds: int
) -> list[dict[str, Any]]:
    """The load table."""
    data = images()
    rows = []
    for engine in engines:
        with Screener(engine=engine, isolate=True) as screener:
            screener(data[:2])
            for batch in batches:
                with RunningServer("--engine", engine, "--batch-maximum", batch) as server:
                    clients(server.port, data, 2, 1.0)
                    for count in counts:
                        ceilings, found = [], []
                        for _ in range(rounds):
                            ceilings.append(bare(screener, data, seconds))
                            found.append(clients(server.port, data, count, seconds))
                        row = {name: round(statistics.mean(one[name] for one in found), 2) for name in found[0]}
                        ceiling = statistics.mean(ceilings)
                        rows.append(
                            {"engine": engine, "batch_maximum": batch, "clients": count}
                            | row
                            | {
                                "ceiling": round(ceiling, 2),
                                "share_of_ceiling": round(row["requests_per_second"] / ceiling, 3),
                            }
                        )
                        print(json.dumps(rows[-1]), flush=True)
    return rows


def lone(seconds: float, rounds: int) -> dict[str, float]:
    """p50 of one client against p50 of direct calls, in turns, in milliseconds."""
    data = images()[0]
    direct: list[float] = []
    served: list[float] = []
    with Screener(isolate=True) as screener, RunningServer() as server:
        screener([data])
        clients(server.port, [data], 1, 1.0)
        for _ in range(rounds):
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                started = time.perf_counter()
                screener([data])
                direct.append(1000 * (time.perf_counter() - started))
            served.append(clients(server.port, [data], 1, seconds)["p50"])
    p50 = statistics.median(direct)
    return {
        "direct_p50": round(p50, 2),
        "served_p50": round(statistics.median(served), 2),
        "allowed_p50": round(1.05 * p50 + 2, 2),
    }


def noop(seconds: float) -> dict[str, Any]:
    """With a constant verdict in place of the screener, one process."""
    data = images()[0]
    with RunningServer(command=checks.STAND_IN) as server:
        clients(server.port, [data], 8, 1.0)
        before = processor_seconds_of(server.process.pid)
        row = clients(server.port, [data], 32, seconds)
        spent = processor_seconds_of(server.process.pid) - before
        alone = clients(server.port, [data], 1, min(seconds, 3.0))
    served = row["requests_per_second"] * seconds
    return {name: round(value, 2) for name, value in row.items()} | {
        "processor_microseconds_per_request": round(1e6 * spent / max(1.0, served)),
        "one_client_requests_per_second": round(alone["requests_per_second"], 1),
    }


def main() -> None:
    """Prints and writes what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", default=",".join(PARTS[:-1]), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--engines", default="openvino,onnxruntime")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--clients", default="1,8,32")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sigterms", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=30.0, help="of the soak")
    given = parser.parse_args()
    parts = given.only.split(",")
    image = images()[0]
    found: dict[str, Any] = {
        "machine": msgspec.to_builtins(describe_machine()),
        "seconds": given.seconds,
        "rounds": given.rounds,
    }
    if given.json is not None and given.json.exists():  # parts that were measured before stay
        found = json.loads(given.json.read_text()) | found
    counts, batches = [[int(part) for part in text.split(",")] for text in (given.clients, given.batches)]
    measures: dict[str, Callable[[], Any]] = {
        "install": checks.install_size,
        "ready": lambda: checks.seconds_to_ready([]),
        "table": lambda: table(given.engines.split(","), batches, counts, given.seconds, given.rounds),
        "lone": lambda: lone(given.seconds, given.rounds),
        "noop": lambda: noop(given.seconds),
        "overload": lambda: checks.overload(image),
        "endings": lambda: checks.endings(image, given.sigterms, print),
        "killed": lambda: checks.killed_thread(image),
        "dropped": lambda: checks.dropped(image),
        "strace": lambda: checks.no_open_no_connect([]),
        "soak": lambda: checks.soak([], image, _ceiling(given.seconds), given.minutes, print),
    }
    for part in parts:
        found[part] = measures[part]()
        found.setdefault("commits", {})[part] = source_commit()
        found.setdefault("load_average_1min", {})[part] = round(os.getloadavg()[0], 1)
        print(json.dumps({part: found[part]}, indent=2, default=str), flush=True)
        if given.json is not None:
            given.json.write_text(json.dumps(found, indent=2, default=str) + "\n")


def _ceiling(seconds: float) -> float:
    with Screener(isolate=True) as screener:
        screener(images()[:1])
        return bare(screener, images(), seconds)


if __name__ == "__main__":
    main()
