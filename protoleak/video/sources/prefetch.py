"""Reads ahead in a thread that may block for long, for a thread that must be able to stop at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")
CAPACITY = 2  # enough that neither side waits for a switch of threads; more would only be latency


class Prefetcher(Generic[Item]):
    """Runs a generator in a thread of its own; what it yields comes out of the iteration here.

    Libraries that read from sockets and devices can't be interrupted from another thread. With the reading in a thread
    that nobody waits for, `close` ends the iteration at once; the thread ends when its read does, for which the
    library's own timeout sets the limit, and frees what it holds.

    Args:
        name: of the thread.
        items: called in the thread. It should stop when `closing` is set.
    """

    def __init__(self, name: str, items: Callable[[], Iterator[Item]]) -> None:
        self.closing = threading.Event()
        self._changed = threading.Condition()
        self._prefetched: deque[Item] = deque()
        self._ended = False
        self._error: BaseException | None = None
        self._items = items
        # A daemon: a read that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Starts reading, unless it has been started or closed."""
        with self._changed:
            if self._thread.ident is None and not self.closing.is_set():
                self._thread.start()

    @property
    def started(self) -> bool:
        return self._thread.ident is not None

    def next(self, timeout: float | None = None) -> Item | None:
        """The next item; None when there are no more.

        Raises:
            TimeoutError: none came in so many seconds.
            Exception: what the generator raised, after its last item.
        """
        with self._changed:
            ready = self._changed.wait_for(
                lambda: self._prefetched or self._ended or self.closing.is_set(), timeout=timeout
            )
            if not ready:
                raise TimeoutError
            if self.closing.is_set():
                return None
            if self._prefetched:
                item = self._prefetched.popleft()
                self._changed.notify_all()
                return item
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            return None

    def close(self) -> None:
        """Ends the iteration. Waits a moment for the thread, which is enough unless its read hangs."""
        self.closing.set()
        with self._changed:
            self._prefetched.clear()
            self._changed.notify_all()
        if self.started and threading.current_thread() is not self._thread:
            self._thread.join(timeout=0.2)

    def _work(self) -> None:
        try:
            for item in self._items():
                with self._changed:
                    self._changed.wait_for(lambda: len(self._prefetched) < CAPACITY or self.closing.is_set())
                    if self.closing.is_set():
                        return
                    self._prefetched.append(item)
                    self._changed.notify_all()
        except BaseException as error:  # it is raised where the items are taken
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
