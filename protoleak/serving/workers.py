"""Several processes that serve on one port, and the one that starts them, watches them and ends them."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING

from protoleak.errors import ProtoleakError
from protoleak.serving.endings import Endings
from protoleak.serving.metrics import SHARED_FOLDER
from protoleak.serving.settings import ServeSettings

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

NOT_USABLE = 2  # the status of a worker whose bundle cannot be opened
RESTART_SECONDS = 1.0
KILL_SECONDS = 1.0  # of the grace, for workers that don't end by themselves


def supervise(settings: ServeSettings, bound: socket.socket, notify: Callable[[str], None]) -> None:
    """Serves with as many processes as the settings say, until SIGTERM or Ctrl-C; see `Endings`. SIGHUP goes to all.

    They take connections from one socket. One that ends is started again.

    Raises:
        ProtoleakError: the bundle is not usable.
    """
    folder = tempfile.mkdtemp(prefix="protoleak-metrics-")
    os.environ[SHARED_FOLDER] = folder
    try:
        _Supervisor(settings, bound, notify).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Supervisor:
    """Starts the workers, starts those again that end, and passes signals on to them."""

    def __init__(self, settings: ServeSettings, bound: socket.socket, notify: Callable[[str], None]) -> None:
        self._settings, self._bound, self._notify = settings, bound, notify
        self._context = multiprocessing.get_context("spawn")  # an engine's threads don't survive a fork
        self._workers: list[SpawnProcess] = []
        self._stopping = threading.Event()
        # Workers see its end, and end with it, however this process ended.
        self._theirs, self._ours = self._context.Pipe(duplex=False)

    def run(self) -> None:
        """From here to the end."""
        endings = Endings(self._settings.grace, self._stop, self._reload, self._notify)
        with endings.heard():
            for _ in range(self._settings.workers):
                self._start()
            while not self._stopping.is_set():
                self._look()
            self._bound.close()
            until = time.monotonic() + self._settings.grace - KILL_SECONDS
            for worker in self._workers:
                worker.join(max(0.0, until - time.monotonic()))
                if worker.is_alive():
                    worker.kill()
                    worker.join(KILL_SECONDS / 2)

    def _start(self) -> None:
        worker = self._context.Process(
            target=_serve, args=(self._settings, self._bound, self._theirs), name="protoleak-worker"
        )
        worker.start()
        self._workers.append(worker)

    def _look(self) -> None:
        multiprocessing.connection.wait([worker.sentinel for worker in self._workers], timeout=0.2)
        for worker in [one for one in self._workers if not one.is_alive()]:
            if self._stopping.is_set():
                return
            _forget(worker)
            self._workers.remove(worker)
            if worker.exitcode == NOT_USABLE:
                self._stop()
                raise ProtoleakError("a worker could not open the bundle: its line above says why")
            self._notify(f"worker {worker.pid} ended with status {worker.exitcode}: another one is started")
            if not self._stopping.wait(RESTART_SECONDS):
                self._start()

    def _stop(self) -> None:
        self._stopping.set()
        self._signal(signal.SIGTERM)

    def _reload(self) -> None:
        self._signal(signal.SIGHUP)

    def _signal(self, number: signal.Signals) -> None:
        for worker in list(self._workers):
            if worker.pid is not None and worker.is_alive():
                os.kill(worker.pid, number)


def _forget(worker: SpawnProcess) -> None:
    """Takes what an ended worker showed of its present state out of the counts."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def _serve(settings: ServeSettings, bound: socket.socket, parent: Connection) -> None:
    """What a worker runs."""
    from protoleak.serving.server import serve

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all processes; the first one tells us

    def notify(line: str) -> None:
        print(f"[{os.getpid()}] {line}", file=sys.stderr, flush=True)

    def watch() -> None:
        multiprocessing.connection.wait([parent])  # nothing is ever sent: it is the end of the other side
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="protoleak-parent", daemon=True).start()
    try:
        serve(settings, bound, notify)
    except ProtoleakError as error:
        notify(f"error: {error}")
        os._exit(NOT_USABLE)
    sys.stderr.flush()
    os._exit(0)
