"""A time limit on what a library does without asking anybody: one thread watches over all that is being run."""

from __future__ import annotations

import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field


@dataclass
class _Watched:
    deadline: float
    stop: Callable[[], None]
    stopped: threading.Event = field(default_factory=threading.Event)


class Watchdog:
    """Stops what takes too long.

    A thread for each run, as `threading.Timer` starts one, costs 0.05 ms and more on busy cores, several times an
    image. Here a run is entered in a table, and a thread that sleeps until the earliest time limit looks there. Runs
    end long before their limits, so that this thread wakes up once in as many seconds as the limit has.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watched: dict[int, _Watched] = {}
        self._numbers = itertools.count()
        self._wakes = math.inf  # when the thread looks next
        self._thread: threading.Thread | None = None

    @contextmanager
    def limit(self, seconds: float, stop: Callable[[], None]) -> Iterator[threading.Event]:
        """Calls `stop` from another thread when what is inside takes longer than that, and sets the event first."""
        one = _Watched(time.monotonic() + seconds, stop)
        number = next(self._numbers)
        with self._changed:
            self._watched[number] = one
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, name="protoleak-watchdog", daemon=True)
                self._thread.start()
            if one.deadline < self._wakes:
                self._changed.notify()
        try:
            yield one.stopped
        finally:
            with self._changed:
                self._watched.pop(number, None)

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                late = [number for number, one in self._watched.items() if one.deadline <= now]
                for number in late:
                    one = self._watched.pop(number)
                    one.stopped.set()
                    one.stop()
                self._wakes = min((one.deadline for one in self._watched.values()), default=math.inf)
                self._changed.wait(None if self._wakes == math.inf else self._wakes - now)


_watchdog = Watchdog()


def time_limit(seconds: float, stop: Callable[[], None]) -> AbstractContextManager[threading.Event]:
    """See `Watchdog.limit`, of the one that this process has."""
    return _watchdog.limit(seconds, stop)


def _after_fork() -> None:
    """A child process has no such thread, and perhaps a lock that nobody gives back."""
    global _watchdog
    _watchdog = Watchdog()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
