"""A time limit on what a library does without asking anybody: one thread watches over all that is being run."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType


class Watchdog:
    """Stops what takes too long.

    A thread for each run, as `threading.Timer` starts one, costs 0.05 ms and more on busy cores, several times an
    image. Here a run is entered in a table, and a thread that sleeps until the earliest time limit looks there. Runs
    end long before their limits, so that this thread wakes up once in as many seconds as the limit has.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._watched: set[Watched] = set()
        self._wakes = math.inf  # when the thread looks next
        self._watching = False

    def limit(self, seconds: float, stop: Callable[[], None]) -> AbstractContextManager[Watched]:
        """Calls `stop` from another thread when what is inside takes longer than that, and says so first."""
        return Watched(self, seconds, stop)

    def enter(self, one: Watched) -> None:
        """Begins to watch a run."""
        with self._lock:
            self._watched.add(one)
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="protoleak-watchdog", daemon=True).start()
            if one.deadline < self._wakes:
                self._changed.notify()

    def leave(self, one: Watched) -> None:
        """Watches a run no more."""
        with self._lock:
            self._watched.discard(one)

    def _watch(self) -> None:
        with self._lock:
            try:
                while True:
                    now = time.monotonic()
                    for one in [one for one in self._watched if one.deadline <= now]:
                        self._watched.discard(one)
                        one.is_late = True
                        one.stop()
                    self._wakes = min((one.deadline for one in self._watched), default=math.inf)
                    self._changed.wait(None if self._wakes == math.inf else self._wakes - now)
            finally:  # whatever `stop` raised: the next run starts another thread
                self._wakes, self._watching = math.inf, False


class Watched:
    """One run. A class and not a generator, without an event that nobody waits for: it is made for every run.

    Attributes:
        deadline: in seconds of `time.monotonic`.
        stop: is called once that is past.
        is_late: whether it was.
    """

    __slots__ = ("_dog", "_seconds", "deadline", "is_late", "stop")

    def __init__(self, dog: Watchdog, seconds: float, stop: Callable[[], None]) -> None:
        self._dog, self._seconds, self.stop = dog, seconds, stop
        self.deadline, self.is_late = math.inf, False

    def __enter__(self) -> Watched:
        self.deadline = time.monotonic() + self._seconds
        self._dog.enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dog.leave(self)


_watchdog = Watchdog()


def time_limit(seconds: float, stop: Callable[[], None]) -> AbstractContextManager[Watched]:
    """See `Watchdog.limit`, of the one that this process has."""
    return _watchdog.limit(seconds, stop)


def _after_fork() -> None:
    """A child process has no such thread, and perhaps a lock that nobody gives back."""
    global _watchdog
    _watchdog = Watchdog()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
