"""What stands between two threads of the pipeline: a bounded queue that waits, or one that keeps the newest."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The stream is being taken down: whoever waits in a channel is to return."""


class Channel(Generic[T]):
    """First in, first out, between one or more threads that put and one that gets.

    `queue.Queue` can neither be woken from outside before Python 3.13 nor give up an old item for a new one.

    Args:
        size: items that may wait.
        replaceable: None for a channel that makes `put` wait while it is full, so that nothing is lost. Else it says
            which items only the newest is wanted of: `put` never waits then, and a new replaceable item takes the
            place of one that still waits. Other items are always kept.
    """

    def __init__(self, size: int, replaceable: Callable[[T], bool] | None = None) -> None:
        self._size, self._replaceable = size, replaceable
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._stopped = False

    def put(self, item: T) -> int:
        """Appends an item and returns how many were given up for it.

        Raises:
            Stopped: the stream is being taken down.
        """
        with self._changed:
            if self._replaceable is None:
                self._changed.wait_for(lambda: self._stopped or len(self._items) < self._size)
            if self._stopped:
                raise Stopped
            before = len(self._items)
            if self._replaceable is not None and self._replaceable(item):
                self._items = deque(waiting for waiting in self._items if not self._replaceable(waiting))
            dropped = before - len(self._items)
            self._items.append(item)
            self._changed.notify_all()
            return dropped

    def get(self, timeout: float | None = None) -> T | None:
        """The oldest item; None where there is none after `timeout` seconds.

        Raises:
            Stopped: the stream is being taken down.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or bool(self._items), timeout)
            if self._stopped:
                raise Stopped
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def stop(self) -> None:
        """Wakes everybody with `Stopped` and lets go of what waited."""
        with self._changed:
            self._stopped = True
            self._items.clear()
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._items)
