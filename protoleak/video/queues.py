"""What stands between two threads of a stream: a queue whose producer waits, and two that keep the newest only."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from protoleak.video.messages import SampledFace

T = TypeVar("T")
PATIENCE = 1.0  # seconds; a face that is still in view is replaced by its newest image long before


class Stopped(Exception):
    """The stream is being taken down: whoever waits at a queue is to return."""


class BoundedQueue(Generic[T]):
    """First in, first out, between one or more threads that put and one that gets. `put` waits while it is full.

    `queue.Queue` cannot be woken from outside before Python 3.13.

    Args:
        size: items that it holds at most.
        changed: shared by queues that one thread gets from; None for one of its own.
    """

    def __init__(self, size: int, changed: threading.Condition | None = None) -> None:
        self._size = size
        self._items: deque[T] = deque()
        self._changed = changed or threading.Condition()
        self._stopped = False

    def put(self, item: T) -> None:
        """Appends an item, as soon as there is room.

        Raises:
            Stopped: the stream is being taken down.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._items) < self._size)
            self._append(item)

    def get(self) -> T:
        """The oldest item, as soon as there is one.

        Raises:
            Stopped: the stream is being taken down.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or bool(self._items))
            return self._pop()

    def wait(self) -> None:
        """Waits until there is an item, and leaves it there.

        Raises:
            Stopped: the stream is being taken down.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or bool(self._items))
            if self._stopped:
                raise Stopped

    def get_within(self, seconds: float) -> T | None:
        """The oldest item; None where there is none after so many seconds.

        Raises:
            Stopped: the stream is being taken down.
        """
        with self._changed:
            there = self._changed.wait_for(lambda: self._stopped or bool(self._items), seconds)
            return self._pop() if there else None

    def stop(self) -> None:
        """Wakes everybody with `Stopped` and drops what it holds."""
        with self._changed:
            self._stopped = True
            self._items.clear()
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._items)

    def _append(self, item: T) -> None:
        if self._stopped:
            raise Stopped
        self._items.append(item)
        self._changed.notify_all()

    def _pop(self) -> T:
        if self._stopped:
            raise Stopped
        item = self._items.popleft()
        self._changed.notify_all()
        return item


class LatestQueue(BoundedQueue[T]):
    """As `BoundedQueue`, but `put` never waits: of the items that can be replaced only the newest is kept.

    Args:
        replaceable: of which items only the newest is wanted. Others are always kept, and must be few.

    Attributes:
        dropped: items that were given up for newer ones.
    """

    def __init__(self, replaceable: Callable[[T], bool]) -> None:
        super().__init__(size=0)
        self._replaceable = replaceable
        self.dropped = 0

    def put(self, item: T) -> None:
        """Appends an item, in place of a replaceable one if it is replaceable itself.

        Raises:
            Stopped: the stream is being taken down.
        """
        with self._changed:
            if self._replaceable(item):
                before = len(self._items)
                self._items = deque(other for other in self._items if not self._replaceable(other))
                self.dropped += before - len(self._items)
            self._append(item)


@dataclass(frozen=True)
class SampledBatch:
    """What the engines get next from a `LatestPerTrackQueue`.

    Attributes:
        faces: at most the batch size, those of the longest queued tracks first.
        ended: tracks of which nothing is left to attribute once `faces` are done.
        last: nothing will come after it.
    """

    faces: list[SampledFace]
    ended: list[int]
    last: bool


class LatestPerTrackQueue:
    """The sampled faces of a live source, on their way to the engines: the newest of each track only, none for long.

    `put` never waits.

    Attributes:
        given_up: faces that were queued for longer than PATIENCE, because the engines were too busy.
    """

    def __init__(self) -> None:
        self._queued: dict[int, tuple[float, SampledFace]] = {}  # with the time at which the image came
        self._ended: list[int] = []
        self._last = False
        self._stopped = False
        self._changed = threading.Condition()
        self.given_up = 0

    def __contains__(self, track: object) -> bool:
        """Whether a face of this track is queued: then its newest image is worth having."""
        with self._changed:
            return track in self._queued

    def __len__(self) -> int:
        return len(self._queued)

    def put(self, sampled: Sequence[SampledFace], ended: Sequence[int] = (), *, last: bool = False) -> None:
        """Adds faces; one of a track that is queued already takes that one's place in the row.

        Raises:
            Stopped: the stream is being taken down.
        """
        with self._changed:
            if self._stopped:
                raise Stopped
            for face in sampled:
                self._queued[face.track] = time.monotonic(), face
            self._ended += ended
            self._last = self._last or last
            self._changed.notify_all()

    def wait(self) -> None:
        """Waits until there is something to do.

        Raises:
            Stopped: the stream is being taken down.
        """
        with self._changed:
            self._wait()

    def get(self, count: int) -> SampledBatch:
        """At most so many faces, as soon as there is something to do.

        Raises:
            Stopped: the stream is being taken down.
        """
        with self._changed:
            self._wait()
            oldest = time.monotonic() - PATIENCE
            fresh = [(track, came) for track, came in self._queued.items() if came[0] >= oldest]
            self.given_up += len(self._queued) - len(fresh)
            taken = [face for _, (_, face) in fresh[:count]]
            self._queued = dict(fresh[count:])
            ended = [track for track in self._ended if track not in self._queued]
            self._ended = [track for track in self._ended if track in self._queued]
            return SampledBatch(taken, ended, self._last and not self._queued)

    def stop(self) -> None:
        """Wakes who waits with `Stopped`."""
        with self._changed:
            self._stopped = True
            self._queued.clear()
            self._changed.notify_all()

    def _wait(self) -> None:
        self._changed.wait_for(lambda: self._stopped or self._last or self._ended or self._queued)
        if self._stopped:
            raise Stopped


class Turns:
    """A lock that those who wait for it get in the order in which they came: several sources that share an engine or a
    detector have one turn each, whichever is the fastest."""

    def __init__(self) -> None:
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        own = object()
        with self._changed:
            self._waiting.append(own)
            self._changed.wait_for(lambda: self._waiting[0] is own)

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._waiting.popleft()
            self._changed.notify_all()
