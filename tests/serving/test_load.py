"""Under more load than the engines can take: what is accepted is answered, the rest is told so at once."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.clients import Tally, ask_at_once, keep_asking, leave_early, request_of
from tests.serving.conftest import png
from tests.serving.running import RunningServer

SLOW = ("-m", "tests.serving.slow_server")
REQUEST = request_of(png(0, 1))


@pytest.fixture(scope="module")
def slow(tiny_bundle: Path) -> Iterator[RunningServer]:
    """150 ms for each batch of up to eight."""
    with RunningServer(tiny_bundle, 0.15, "--queue", 32, command=SLOW) as running:
        yield running


def depth(server: RunningServer) -> float:
    """Images that are accepted and not answered yet."""
    lines = server.ask("GET", "/v1/metrics").body.decode().splitlines()
    return float(next(line for line in lines if line.startswith("protoleak_queue_depth ")).split()[1])


def test_what_finds_no_room_is_told_so_at_once(slow: RunningServer) -> None:
    tally = asyncio.run(ask_at_once(slow.port, REQUEST, 80))
    assert set(tally.codes) == {"200", "503"}
    assert tally.codes["200"] >= 32
    refused = [head for head in tally.headers if head.startswith("http/1.1 503")]
    assert all("retry-after: 1" in head for head in refused)
    # All of them came before most of the 0.6 s that the accepted ones take; see benchmarks/serving.py for the figure.
    assert min(tally.seconds["503"]) < max(tally.seconds["200"])
    assert depth(slow) == 0


def test_requests_of_clients_that_left_are_dropped(slow: RunningServer) -> None:
    asyncio.run(leave_early(slow.port, REQUEST, 60))
    until = time.monotonic() + 20
    while depth(slow) > 0 and time.monotonic() < until:
        time.sleep(0.05)
    assert depth(slow) == 0
    assert slow.screen(png(0, 1)).status == 200


@pytest.mark.parametrize("threads", [1, 2])
def test_nothing_that_was_accepted_is_lost_by_sigterm(tiny_bundle: Path, threads: int) -> None:
    tally = Tally()

    async def load(server: RunningServer) -> None:
        until = time.monotonic() + 60
        clients = [asyncio.create_task(keep_asking(server.port, REQUEST, tally, until)) for _ in range(8)]
        await asyncio.sleep(1.0)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*clients)

    with RunningServer(tiny_bundle, 0.02, "--batching-threads", threads, command=SLOW) as running:
        asyncio.run(load(running))
        assert running.process.wait(20) == 0
    assert tally.codes["200"] > 8
    assert set(tally.codes) == {"200"}


def test_a_request_that_takes_too_long_is_504_and_the_server_ends_in_its_grace(tiny_bundle: Path) -> None:
    arguments = (tiny_bundle, 30.0, "--request-seconds", 0.3, "--grace", 2)
    with RunningServer(*arguments, command=SLOW) as running:
        reply = running.screen(png(0, 1))
        assert (reply.status, reply.json["error"]["code"]) == (504, "timeout")
        started = time.monotonic()
        assert running.stop() == 0  # the engines are busy for 30 s
        assert time.monotonic() - started < 15


def test_a_second_signal_ends_it_at_once(tiny_bundle: Path) -> None:
    with RunningServer(tiny_bundle, 30.0, "--grace", 60, command=SLOW) as running:
        running.process.send_signal(signal.SIGTERM)
        running.wait_for("stopping")
        assert running.stop() == 128 + signal.SIGTERM
