"""Many clients at once, each with a connection of its own that it keeps."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """What clients saw.

    Attributes:
        codes: status → how often; "lost" for a request that was sent and got no whole answer.
        seconds: status → how long each answer took.
        headers: of the answers, in lower case.
    """

    codes: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    headers: list[str] = field(default_factory=list)


def request_of(body: bytes, path: str = "/v1/screen", kind: str = "image/png") -> bytes:
    """A whole HTTP request."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def one_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, tally: Tally) -> bool:
    """Sends one request and counts its answer; whether the connection may be used again."""
    started = time.perf_counter()
    try:
        writer.write(request)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
    except (asyncio.IncompleteReadError, ConnectionError):
        tally.codes["lost"] += 1
        return False
    code = head[9:12]
    tally.codes[code] += 1
    tally.seconds.setdefault(code, []).append(time.perf_counter() - started)
    tally.headers.append(head)
    return "connection: close" not in head


async def keep_asking(port: int, request: bytes, tally: Tally, until: float) -> None:
    """One request after another until the time is up, or nobody listens any more."""
    while time.monotonic() < until:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return
        while time.monotonic() < until and await one_answer(reader, writer, request, tally):
            pass
        writer.close()


async def ask_at_once(port: int, request: bytes, count: int) -> Tally:
    """So many connections, each with one request, all sent when all are open."""
    tally = Tally()
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    await asyncio.gather(*(one_answer(reader, writer, request, tally) for reader, writer in connections))
    for _, writer in connections:
        writer.close()
    return tally


async def leave_early(port: int, request: bytes, count: int) -> None:
    """So many clients that send a request and go without waiting for the answer."""
    for _ in range(count):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        await writer.drain()
        writer.close()
