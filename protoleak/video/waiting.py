"""The due faces of a live source that wait for the engine: of each track the newest only, none for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from protoleak.video.messages import DueFace
from protoleak.video.queues import Stopped

PATIENCE = 1.0  # seconds; a face that is still in view is replaced by its newest image long before


@dataclass(frozen=True)
class Work:
    """What the engine gets next.

    Attributes:
        due: at most the batch size, longest-waiting tracks first.
        ended: tracks of which nothing is left to attribute once `due` is done.
        last: nothing will come after it.
    """

    due: list[DueFace]
    ended: list[int]
    last: bool


class WaitingFaces:
    """Between the thread that finds due faces and the one that attributes them. Nobody who puts ever waits."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[float, DueFace]] = {}  # with the time at which the image came
        self._ended: list[int] = []
        self._last = False
        self._stopped = False
        self._changed = threading.Condition()
        self.given_up = 0

    def __contains__(self, track: object) -> bool:
        """Whether a face of this track waits: then its newest image is worth having."""
        with self._changed:
            return track in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, due: Sequence[DueFace], ended: Sequence[int] = (), *, last: bool = False) -> None:
        """Adds faces; one of a track that already waits takes that one's place in the row.

        Raises:
            Stopped: the stream is being taken down.
        """
        with self._changed:
            if self._stopped:
                raise Stopped
            for face in due:
                self._waiting[face.track] = time.monotonic(), face
            self._ended += ended
            self._last = self._last or last
            self._changed.notify_all()

    def take(self, count: int) -> Work:
        """Waits until there is something to do, and takes it.

        Raises:
            Stopped: the stream is being taken down.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._last or self._ended or self._waiting)
            if self._stopped:
                raise Stopped
            oldest = time.monotonic() - PATIENCE
            fresh = [(track, came) for track, came in self._waiting.items() if came[0] >= oldest]
            self.given_up += len(self._waiting) - len(fresh)
            taken = [face for _, (_, face) in fresh[:count]]
            self._waiting = dict(fresh[count:])
            ended = [track for track in self._ended if track not in self._waiting]
            self._ended = [track for track in self._ended if track in self._waiting]
            return Work(taken, ended, self._last and not self._waiting)

    def stop(self) -> None:
        """Wakes who waits with `Stopped`."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._changed.notify_all()
