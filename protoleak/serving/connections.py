"""Connections, of honest clients and of others: how long one may keep us waiting, and how many there may be."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import h11
import msgspec
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from protoleak.serving.metrics import Metrics
from protoleak.serving.refusal import Refusal, busy
from protoleak.serving.settings import RequestLimits

TYPE_AND_END = ((b"content-type", b"application/json"), (b"connection", b"close"))


class Connection(H11Protocol):
    """uvicorn's, which waits for ever for a client that begins a request and doesn't go on, and takes any number.

    One that has been waited on for as long as a request may take is closed. Where there are as many as may be, the one
    that has been waited on for longest makes room; where all are being answered, the next request of the new one is
    503.

    Args:
        limits: `seconds` and `connections` of these.
        metrics: that count what is refused.
        given: what uvicorn gives.
    """

    def __init__(self, *, limits: RequestLimits, metrics: Metrics, **given: Any) -> None:
        super().__init__(**given)
        self._limits, self._metrics = limits, metrics
        self._waiting_since = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether it is the client's turn: no request of it is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._start_timer()
        if len(self.connections) > self._limits.connections:
            others = [one for one in self.connections if isinstance(one, Connection) and one is not self]
            waiting = [one for one in others if one.is_waiting]
            self._metrics.rejected.labels("connections").inc()
            if waiting:
                min(waiting, key=lambda one: one._waiting_since).transport.close()
            else:
                self.app = _crowded

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        super().data_received(data)
        if not self.is_waiting:
            self._stop_timer()
        elif self._timer is None:  # it began a request, or goes on with a body that was refused
            self._start_timer()

    def on_response_complete(self) -> None:
        """uvicorn's: a whole answer was written."""
        self._waiting_since = time.monotonic()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """uvicorn's: what came is not HTTP. Said as every refusal is, where nothing was answered yet."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._metrics.requests.labels("400").inc()
            body = msgspec.json.encode(Refusal(400, "bad_http", msg).body)
            headers = [*TYPE_AND_END, (b"content-length", str(len(body)).encode())]
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
            if not self.is_waiting:  # what is wrong is in a body: its endpoint has nobody left to answer
                self.cycle.disconnected = True
                self.cycle.message_event.set()
        self.transport.close()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self._limits.seconds, self._end)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._timer = None
        if self.is_waiting and not self.transport.is_closing():
            self._metrics.rejected.labels("slow").inc()
            self.transport.close()


async def _crowded(_: Scope, __: Receive, send: Send) -> None:
    refusal = busy("crowded", "all connections that may be are being answered: come again later")
    body = msgspec.json.encode(refusal.body)
    own = {"Content-Length": str(len(body)), **refusal.headers}
    headers = [*TYPE_AND_END, *((name.lower().encode(), value.encode()) for name, value in own.items())]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
