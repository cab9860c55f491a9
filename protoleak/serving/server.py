"""One process that serves: uvicorn around the endpoints, from the first signal of life to the last."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import uvicorn

from protoleak.errors import ProtoleakError
from protoleak.serving.app import build_app
from protoleak.serving.connections import Connection
from protoleak.serving.endings import Endings
from protoleak.serving.judging import BundleJudge
from protoleak.serving.service import Open, Service
from protoleak.serving.settings import ServeSettings
from protoleak.video.sources.containers import need_av

BACKLOG = 1024
# After SIGTERM connections that are open are still answered for so long, so that a request that was on its way when the
# signal came isn't lost; each is closed with its answer.
LINGER_SECONDS = 0.3
KEEP_ALIVE_SECONDS = 15
# For which an answer may lie at a client's side unread, or unacknowledged, before the connection is taken for dead.
UNREAD_SECONDS = 30
WATCH_SECONDS = 0.5
MARGIN_SECONDS = 0.5  # of the grace, for closing engines


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound, and not listening yet.

    Raises:
        ProtoleakError: the address is taken, or not of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections have it from the socket that they came by
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * UNREAD_SECONDS)
        bound.bind(address)
    except OSError as error:
        raise ProtoleakError(
            f"cannot serve on {host}:{port}: {error.strerror or error}: give another --host or --port"
        ) from error
    return bound


def address_of(bound: socket.socket) -> str:
    """As a client would type it."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def open_judge(settings: ServeSettings, notify: Callable[[str], None]) -> BundleJudge:
    """The bundle of these settings, warmed."""
    judge = BundleJudge(settings.options, settings.limits, notify)
    try:
        judge.warm_up()
    except BaseException:
        judge.retire()
        raise
    return judge


def serve(
    settings: ServeSettings, bound: socket.socket, notify: Callable[[str], None], opening: Open | None = None
) -> None:
    """Serves until SIGTERM or Ctrl-C, see `Endings`. For the main thread of a process.

    Args:
        bound: what `listen` gave.
        notify: takes one line for the log.
        opening: opens and warms what judges; None for the bundle of the settings.

    Raises:
        ProtoleakError: the bundle is not usable.
        MissingExtra: live sources are allowed, and what reads them is not installed.
    """
    if settings.stream_hosts:
        need_av()  # said now, not when the first live source is asked for
    service = Service(settings, opening or partial(open_judge, settings, notify), notify)
    asyncio.run(_Life(service, bound, notify).run())


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn raises them again when it has ended, and the status would be 143."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Life:
    """A server from its start to its end: loading while it answers already, reloading, and ending in time."""

    def __init__(self, service: Service, bound: socket.socket, notify: Callable[[str], None]) -> None:
        self._service, self._bound, self._notify = service, bound, notify
        self._grace = service.settings.grace
        self._problem: BaseException | None = None
        self._reloading, self._reload_waits = threading.Lock(), False
        self._until = 0.0

    async def run(self) -> None:
        """From here to the end."""
        limits = self._service.settings.limits
        config = uvicorn.Config(
            build_app(self._service),
            lifespan="off",
            log_config=None,
            log_level="error",  # what clients send that isn't HTTP is no news, and they could fill a disk with it
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            http=cast("type[asyncio.Protocol]", partial(Connection, limits=limits, metrics=self._service.metrics)),
            loop="asyncio",
            ws="none",
            timeout_keep_alive=max(1, min(KEEP_ALIVE_SECONDS, int(limits.seconds))),
            timeout_graceful_shutdown=max(1, int(self._grace - MARGIN_SECONDS)),
            h11_max_incomplete_event_size=32 * 1024,
        )
        self._loop = asyncio.get_running_loop()
        self._server = _Server(config)
        endings = Endings(self._grace, self._stop_soon, self._reload, self._notify)
        with endings.heard():
            # A daemon: a signal while the bundle is loaded doesn't wait for it.
            threading.Thread(target=self._load, name="protoleak-loading", daemon=True).start()
            watching = asyncio.ensure_future(self._watch())
            await self._server.serve(sockets=[self._bound])
            watching.cancel()
            self._service.close(max(MARGIN_SECONDS, self._until - time.monotonic()))
            if self._problem is not None:
                raise self._problem

    async def _watch(self) -> None:
        """Keeps the metric for whoever asks for no health: with several workers any of them shows those of all."""
        while True:
            self._service.metrics.ready.set(self._service.why_not_ready is None)
            await asyncio.sleep(WATCH_SECONDS)

    def _load(self) -> None:
        try:
            self._service.load()
        except BaseException as error:
            self._problem = error
            self._server.should_exit = True
            return
        if not self._service.stopping:
            self._notify(f"serving on {address_of(self._bound)}: {self._service.description}")

    def _reload(self) -> None:
        if self._reload_waits:  # it will load what is there when its turn comes
            return
        self._reload_waits = True
        threading.Thread(target=self._reload_in_turn, name="protoleak-reload", daemon=True).start()

    def _reload_in_turn(self) -> None:
        with self._reloading:
            self._reload_waits = False
            self._service.reload()

    def _stop_soon(self) -> None:
        self._loop.call_soon_threadsafe(self._begin_to_stop)

    def _begin_to_stop(self) -> None:
        self._until = time.monotonic() + self._grace - MARGIN_SECONDS
        self._service.stopping = True
        self._notify("stopping: what was accepted is answered first")
        for one in getattr(self._server, "servers", ()):
            one.close()
        self._loop.call_later(LINGER_SECONDS, self._stop)

    def _stop(self) -> None:
        self._server.should_exit = True
