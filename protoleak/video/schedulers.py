"""How a source's frames and faces get from stage to stage: all of them in order, or the newest only.

    decoding ─ put_decoded ─► get_decoded ─ tracking ─ put_tracked ─► next_batch ─ attribution
    attribution ─ attributed.put ─► attributed.get_within ─ aggregation

`InOrder` is for files, `Latest` for live sources. Each method is called by the thread of one stage, except `stop`.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Container, Mapping, Sized
from typing import TypeAlias

from protoleak.video.frames import Frame
from protoleak.video.messages import (
    Attributed,
    Decoded,
    EndOfStream,
    RenderedFrame,
    SampledFace,
    Tracked,
    TrackedFrame,
    TrackedGap,
    TracksEnded,
)
from protoleak.video.queues import BoundedQueue, LatestPerTrackQueue, LatestQueue

FRAMES_QUEUED = 4  # at each stage of a file: enough to ride out an engine run at 30 fps, 25 MB of 1920×1080
FRAMES_BATCHED = 8  # held by one batch of a file's faces: 50 MB of 1920×1080
MESSAGES_QUEUED = 8  # for the sinks and the caller
OVERTIME = 1.0  # seconds beyond its limit in which a live source may still end itself, by its frames' own time

# What the attribution stage gets: faces, whose verdicts take their place, among messages that pass through.
Batch: TypeAlias = list[SampledFace | Attributed]


class Scheduler(ABC):
    """What stands between the stages of one source. All its blocking methods raise `queues.Stopped` after `stop`.

    Args:
        arrived: notified with every message to the aggregation; None where nobody waits for several sources at once.

    Attributes:
        attributed: to the aggregation. It is bounded: a slow sink holds up the attribution.
        pending: tracks of which a sampled face has not come to the engines yet; their newest images would replace it.
    """

    pending: Container[int] = frozenset()

    def __init__(self, arrived: threading.Condition | None = None) -> None:
        self.attributed: BoundedQueue[Attributed] = BoundedQueue(MESSAGES_QUEUED, arrived)

    @property
    @abstractmethod
    def queues(self) -> Mapping[str, Sized]:
        """What is held where, by a name for people."""

    @property
    def frames_dropped(self) -> int:
        """Frames that were given up for newer ones."""
        return 0

    @property
    def faces_given_up(self) -> int:
        """Sampled faces that never came to the engines."""
        return 0

    @abstractmethod
    def put_decoded(self, message: Decoded) -> None:
        """From the decoding stage."""

    @abstractmethod
    def wait_decoded(self) -> None:
        """For the tracking stage, which waits here until `get_decoded` has something to give."""

    @abstractmethod
    def get_decoded(self) -> Decoded:
        """For the tracking stage."""

    @abstractmethod
    def put_tracked(self, message: Tracked) -> None:
        """From the tracking stage."""

    @abstractmethod
    def wait_batch(self) -> None:
        """For the attribution stage, which waits here until `next_batch` has something to give."""

    @abstractmethod
    def next_batch(self, size: int) -> Batch:
        """For the attribution stage.

        Args:
            size: faces that go through the engines together, at most where they need not.

        Returns:
            Faces and messages in the order in which `attributed` is to get them; EndOfStream can only be the last.
        """

    @abstractmethod
    def overdue(self, limit: float) -> bool:
        """Whether the source should have ended itself long ago, by the clock of this machine.

        Args:
            limit: seconds of the source after which it is to end.
        """

    @abstractmethod
    def stop(self) -> None:
        """Wakes every stage that waits."""


class InOrder(Scheduler):
    """Of a file: no frame is lost, frames wait for the verdicts of their own faces, and whoever is ahead waits."""

    def __init__(self, arrived: threading.Condition | None = None) -> None:
        super().__init__(arrived)
        self._decoded: BoundedQueue[Decoded] = BoundedQueue(FRAMES_QUEUED)
        self._tracked: BoundedQueue[Tracked] = BoundedQueue(FRAMES_QUEUED)

    @property
    def queues(self) -> Mapping[str, Sized]:
        return {
            "frames to track": self._decoded,
            "frames to attribute": self._tracked,
            "messages to aggregate": self.attributed,
        }

    def put_decoded(self, message: Decoded) -> None:
        self._decoded.put(message)

    def wait_decoded(self) -> None:
        self._decoded.wait()

    def get_decoded(self) -> Decoded:
        return self._decoded.get()

    def put_tracked(self, message: Tracked) -> None:
        self._tracked.put(message)

    def wait_batch(self) -> None:
        self._tracked.wait()

    def next_batch(self, size: int) -> Batch:
        """At least one message; with a sampled face in it whatever else is at hand, up to `size` faces or the end."""
        batch: Batch = []
        messages = faces = 0
        message: Tracked | None = self._tracked.get()
        while message is not None:
            batch += _in_order(message)
            messages += 1
            faces += len(message.sampled) if isinstance(message, TrackedFrame) else 0
            if isinstance(message, EndOfStream) or not 0 < faces < size or messages == FRAMES_BATCHED:
                break
            message = self._tracked.get_within(0)
        return batch

    def overdue(self, limit: float) -> bool:  # noqa: ARG002  # a file has no time but its frames' own
        return False

    def stop(self) -> None:
        for queue in (self._decoded, self._tracked, self.attributed):
            queue.stop()


class Latest(Scheduler):
    """Of a live source: the newest frame, and the newest image of each track; no stage holds up the one before it.

    So a verdict is never older than one run of the tracking, one of the engines and what the sinks take, however slow
    these are. Frames reach the sinks at once, with what is known by then: a FaceEvent may come after its frame.
    """

    def __init__(self, arrived: threading.Condition | None = None) -> None:
        super().__init__(arrived)
        self._decoded: LatestQueue[Decoded] = LatestQueue(lambda message: isinstance(message, Frame))
        self.pending: LatestPerTrackQueue = LatestPerTrackQueue()
        self._started = time.monotonic()

    @property
    def queues(self) -> Mapping[str, Sized]:
        return {
            "frames to track": self._decoded,
            "faces to attribute": self.pending,
            "messages to aggregate": self.attributed,
        }

    @property
    def frames_dropped(self) -> int:
        return self._decoded.dropped

    @property
    def faces_given_up(self) -> int:
        return self.pending.given_up

    def put_decoded(self, message: Decoded) -> None:
        self._decoded.put(message)

    def wait_decoded(self) -> None:
        self._decoded.wait()

    def get_decoded(self) -> Decoded:
        return self._decoded.get()

    def put_tracked(self, message: Tracked) -> None:
        if isinstance(message, TrackedFrame):
            self.attributed.put(RenderedFrame(message.frame, message.faces, message.detected))
            self.pending.put(message.sampled, message.ended)
        elif isinstance(message, TrackedGap):
            self.attributed.put(message.gap)
            self.pending.put([], message.ended)
        elif isinstance(message, TracksEnded):
            self.pending.put([], message.tracks)
        elif isinstance(message, EndOfStream):
            self.pending.put([], last=True)
        else:
            self.attributed.put(message)

    def wait_batch(self) -> None:
        self.pending.wait()

    def next_batch(self, size: int) -> Batch:
        """What is pending when the engines are free, at most `size` faces."""
        taken = self.pending.get(size)
        batch: Batch = [*taken.faces]
        if taken.ended:
            batch.append(TracksEnded(taken.ended))
        if taken.last:
            batch.append(EndOfStream())
        return batch

    def overdue(self, limit: float) -> bool:
        return time.monotonic() - self._started > limit + OVERTIME

    def stop(self) -> None:
        self._decoded.stop()
        self.pending.stop()
        self.attributed.stop()


def _in_order(message: Tracked) -> Batch:
    """What a message of the tracking stage becomes when nothing may overtake: a frame comes after its own verdicts."""
    if isinstance(message, TrackedFrame):
        ended = [TracksEnded(message.ended)] if message.ended else []
        return [*message.sampled, RenderedFrame(message.frame, message.faces, message.detected), *ended]
    if isinstance(message, TrackedGap):
        return [TracksEnded(message.ended), message.gap]
    return [message]
