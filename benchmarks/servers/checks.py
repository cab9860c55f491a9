"""The acceptance figures of `protoleak serve` that are not its load table; see benchmarks/serving.py."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from benchmarks.processes import handles_of, memory_of, processor_seconds_of, threads_of
from tests.serving.clients import Tally, ask_at_once, keep_asking, leave_early, request_of
from tests.serving.running import RunningServer

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

STAND_IN = ("-m", "benchmarks.servers.stand_in")
PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def install_size() -> dict[str, Any]:
    """What the extra brings on top of protoleak's own dependencies, as it is installed here."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    own = _closure(project["dependencies"])
    extra = _closure(project["optional-dependencies"]["serve"])
    added = sorted(extra - own)
    sizes = {name: _bytes_of(name) for name in added}
    return {
        "distributions": added,
        "megabytes": round(sum(sizes.values()) / 1e6, 1),
        "pure": {name: "Root-Is-Purelib: true" in (_wheel(name) or "") for name in added},
    }


def seconds_to_ready(bundle: list[str]) -> dict[str, float]:
    """From the start of the process to the first 200 of /v1/health/ready, and the processor time of that."""
    started = time.perf_counter()
    with RunningServer(*bundle) as server:
        while server.ask("GET", "/v1/health/ready").status != 200:
            time.sleep(0.01)
        wall = time.perf_counter() - started
        spent = processor_seconds_of(server.process.pid)
    return {"seconds": round(wall, 2), "processor_seconds": spent}


def overload(image: bytes, clients: int = 150, queue: int = 64) -> dict[str, Any]:
    """So many clients at once where fewer find room."""
    with RunningServer("--seconds", 0.2, "--queue", queue, command=STAND_IN) as server:
        tally = asyncio.run(ask_at_once(server.port, request_of(image), clients))
    refused = [head for head in tally.headers if head.startswith("http/1.1 503")]
    return {
        "clients": clients,
        "queue": queue,
        "codes": dict(tally.codes),
        "longest_503_seconds": round(max(tally.seconds.get("503", [0.0])), 3),
        "all_503_have_retry_after": all("retry-after" in head for head in refused),
    }


def endings(image: bytes, times: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """SIGTERM under eight clients, with one and with two batching threads."""
    found: dict[str, Any] = {}
    for threads in (1, 2):
        codes: Counter[str] = Counter()
        statuses: Counter[int] = Counter()
        left = 0
        longest = 0.0
        for number in range(times):
            arguments = ("--seconds", 0.02, "--batching-threads", threads)
            with RunningServer(*arguments, command=STAND_IN) as server:
                tally, seconds = asyncio.run(_ended(server, request_of(image)))
                statuses[server.process.wait(30)] += 1
                left += Path(f"/proc/{server.process.pid}").exists()
            codes += tally.codes
            longest = max(longest, seconds)
            progress(f"SIGTERM {number + 1} of {times}, {threads} batching threads: {dict(tally.codes)}")
        found[f"batching_threads_{threads}"] = {
            "times": times,
            "codes": dict(codes),
            "exit_statuses": dict(statuses),
            "processes_left": left,
            "longest_seconds": round(longest, 2),
        }
    return found


async def _ended(server: RunningServer, request: bytes) -> tuple[Tally, float]:
    tally = Tally()
    until = time.monotonic() + 60
    clients = [asyncio.create_task(keep_asking(server.port, request, tally, until)) for _ in range(8)]
    await asyncio.sleep(0.7)
    started = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    await asyncio.gather(*clients)
    while server.process.poll() is None:
        await asyncio.sleep(0.02)
    return tally, time.monotonic() - started


def killed_thread(image: bytes) -> dict[str, Any]:
    """The batching thread is ended from outside while requests wait."""
    with RunningServer("--seconds", 0.3, command=STAND_IN) as server:

        async def kill() -> tuple[Tally, float]:
            asking = asyncio.create_task(ask_at_once(server.port, request_of(image), 24))
            await asyncio.sleep(0.2)
            started = time.monotonic()
            server.process.send_signal(signal.SIGUSR1)
            while (await asyncio.to_thread(server.ask, "GET", "/v1/health/ready")).status == 200:
                await asyncio.sleep(0.01)
            seconds = time.monotonic() - started
            return await asking, seconds

        tally, seconds = asyncio.run(kill())
    return {"codes": dict(tally.codes), "ready_is_503_after_seconds": round(seconds, 2)}


def dropped(image: bytes, requests: int = 1000) -> dict[str, Any]:
    """Half of the requests are dropped by their clients."""
    request = request_of(image)
    with RunningServer("--seconds", 0.005, command=STAND_IN) as server:
        asyncio.run(ask_at_once(server.port, request, 20))
        before = memory_of(server.process.pid)
        for _ in range(requests // 100):
            asyncio.run(leave_early(server.port, request, 50))
            asyncio.run(ask_at_once(server.port, request, 50))
        time.sleep(1.0)
        metrics = server.ask("GET", "/v1/metrics").body.decode()
        after = memory_of(server.process.pid)
    depth = next(line for line in metrics.splitlines() if line.startswith("protoleak_queue_depth "))
    return {
        "requests": requests,
        "queue_depth": float(depth.split()[1]),
        "megabytes_before": before,
        "megabytes_after": after,
    }


def no_open_no_connect(bundle: list[str]) -> dict[str, Any]:
    """What the server opens and connects to while paths and addresses are given to it, as strace sees it."""
    if shutil.which("strace") is None:
        return {"skipped": "strace is not installed"}
    log = Path(tempfile.mkdtemp()) / "calls"
    codes = []
    with RunningServer(*bundle) as server:
        server.screen(b"first")  # what is imported late is imported now
        tracing = subprocess.Popen(
            ["strace", "-f", "-qq", "-e", "trace=%file,connect", "-o", str(log), "-p", str(server.process.pid)],
            stderr=subprocess.DEVNULL,
        )
        time.sleep(1.0)
        for text in ("/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:9/x.png"):
            body = json.dumps({"input": [text]}).encode()
            codes.append(server.screen(body, "application/json").status)
        server.ask("GET", "/v1/metrics")  # reads /proc/self: whether strace sees anything at all
        time.sleep(0.5)
        tracing.terminate()
        tracing.wait()
    calls = [line for line in log.read_text().splitlines() if "(" in line and "SIG" not in line]
    own = [line for line in calls if '"/proc/' in line]
    return {"codes": codes, "calls": [line for line in calls if line not in own], "calls_for_metrics": len(own)}


def soak(
    bundle: list[str], image: bytes, ceiling: float, minutes: float, progress: Callable[[str], None]
) -> dict[str, Any]:
    """At 80 % of the ceiling for so many minutes: memory, handles and threads of the server.

    Args:
        ceiling: requests a second.
    """
    samples: list[dict[str, float]] = []
    rate = 0.8 * ceiling

    async def load(server: RunningServer) -> Counter[str]:
        tally = Tally()
        started = time.monotonic()
        tasks: set[asyncio.Task[None]] = set()
        sent, sampled = 0, started
        while (now := time.monotonic()) < started + 60 * minutes:
            if now >= sampled:
                pid = server.process.pid
                samples.append(
                    {
                        "minute": round((now - started) / 60, 2),
                        "megabytes": memory_of(pid),
                        "handles": handles_of(pid),
                        "threads": threads_of(pid),
                    }
                )
                progress(f"soak: {samples[-1]}, {dict(tally.codes)}")
                sampled += max(10.0, 60 * minutes / 40)
            while sent < rate * (now - started):
                task = asyncio.create_task(keep_one(server.port, image, tally))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                sent += 1
            await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)
        return Counter(tally.codes)

    with RunningServer(*bundle) as server:
        codes = asyncio.run(load(server))
        status = server.stop()
    return {
        "minutes": minutes,
        "requests_per_second": round(rate, 2),
        "codes": dict(codes),
        "exit_status": status,
        "samples": samples,
    }


async def keep_one(port: int, image: bytes, tally: Tally) -> None:
    """One request on a connection of its own."""
    tally.codes += (await ask_at_once(port, request_of(image, kind="image/jpeg"), 1)).codes


def _closure(requirements: Iterable[str]) -> set[str]:
    """The packages that these bring, those that they bring, and so on, as installed here."""
    found: set[str] = set()
    waiting = list(requirements)
    while waiting:
        requirement = Requirement(waiting.pop())
        name = requirement.name.lower().replace("_", "-")
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        waiting += importlib.metadata.requires(name) or []
    return found


def _bytes_of(name: str) -> int:
    files = importlib.metadata.files(name) or []
    return sum(Path(str(file.locate())).stat().st_size for file in files if Path(str(file.locate())).is_file())


def _wheel(name: str) -> str | None:
    return importlib.metadata.distribution(name).read_text("WHEEL")
