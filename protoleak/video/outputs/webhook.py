"""Events of live sources, posted to an address as they come: CloudEvents 1.0 as JSON, in the structured mode.

An address that doesn't answer holds nothing up: events wait in a queue of bounded length, of which the oldest goes when
it is full, and every event that is lost is counted.
"""

from __future__ import annotations

import itertools
import random
import socket
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from urllib.parse import quote

import msgspec

from protoleak.arrays import UInt8Array
from protoleak.video.events import Event, FaceEvent, FailureEvent, TrackEvent
from protoleak.video.frames import Frame, SourceInfo
from protoleak.video.outputs.post import Post, Response
from protoleak.video.sink import TrackedFace
from protoleak.video.statistics import Statistics

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
TYPE = "protoleak."  # and the event's own: face, track, gap, failure, drift
GONE = 410  # the receiver wants nothing more, as the specification of CloudEvents' webhooks has it
TAKEN = range(200, 300)
PASSING = (408, 425, 429)  # refusals that a later try may not meet, besides 5xx
NO_TIME, QUEUE_FULL = "no time was left at the end", "the queue was full"


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is posted. `source` and `id` together name one event for ever.

    Attributes:
        source: `protoleak://HOST/SOURCE`, the machine and what is screened there, without secrets.
        type: "protoleak.face", "protoleak.track", "protoleak.gap", "protoleak.failure" or "protoleak.drift".
        time: when the event was made, UTC, RFC 3339.
        subject: `track/NUMBER`, of events about one.
        data: the event, as in verdicts.jsonl and tracks.json.
    """

    specversion: str
    id: str
    source: str
    type: str
    time: str
    subject: str | None = None
    datacontenttype: str
    data: Event


@dataclass(frozen=True)
class WebhookSettings:
    """How an address is posted to.

    Attributes:
        timeout: seconds without an answer after which a try has failed.
        attempts: tries for one event before it is given up.
        first_delay: seconds before the second try; it doubles with every further one,
        longest_delay: up to this, also where the receiver asks for more.
        queue: events that wait at most; then the oldest is given up.
        grace: seconds for what still waits at the end.
    """

    timeout: float = 10.0
    attempts: int = 8
    first_delay: float = 0.5
    longest_delay: float = 30.0
    queue: int = 1000
    grace: float = 10.0


class Webhook:
    """A `SourcesSink` that posts every event of all sources to one address. `close` ends it.

    Args:
        url: http or https. A user and a password in it are sent as basic authentication.
        token: sent as a bearer token; None for none.
        notify: called with one line where the address begins to fail and where it answers again, from a thread of its
            own; secrets of the address are masked in it.

    Attributes:
        shown: the address without secrets.
        delivered: events that the receiver took.
        lost: reason → events that it didn't.

    Raises:
        ProtoleakError: the address is none that can be posted to.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        settings: WebhookSettings = WebhookSettings(),
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settings, self._notify = settings, notify
        self._post = Post(url, {"Content-Type": CONTENT_TYPE}, token=token, timeout=settings.timeout)
        self.shown = self._post.shown
        self.delivered = 0
        self.lost: Counter[str] = Counter()
        self._run, self._numbers = uuid.uuid4().hex, itertools.count(1)
        self._host = quote(socket.gethostname() or "localhost", safe="")
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._posting = 0  # events that were taken from the queue and have no outcome yet: none or one
        self._closing = False
        self._ended = threading.Event()  # nothing more is tried
        self._failing_since: float | None = None
        self._thread = threading.Thread(target=self._deliver_all, name="protoleak-webhook", daemon=True)
        self._thread.start()

    def sink(self) -> _SourceEvents:
        """The sink for one more source."""
        return _SourceEvents(self)

    def source_failed(self, failure: FailureEvent) -> None:
        """A source that could not be opened."""
        self.put(failure)

    def put(self, event: Event) -> None:
        """Has an event posted; it waits for nothing."""
        envelope = msgspec.json.encode(self._enveloped(event))
        with self._changed:
            if self._ended.is_set():
                self.lost[NO_TIME if self._closing else str(Response(GONE))] += 1
                return
            if len(self._waiting) >= self._settings.queue:
                self._waiting.popleft()
                self.lost[QUEUE_FULL] += 1
            self._waiting.append(envelope)
            self._changed.notify_all()

    def close(self, grace: float | None = None) -> None:
        """Posts what still waits, for so many seconds at most, and ends. May be called more than once.

        Args:
            grace: None for that of the settings.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(self._settings.grace if grace is None else grace)
        self._ended.set()
        self._post.close()
        with self._changed:
            left = len(self._waiting) + self._posting
            if left:
                self.lost[NO_TIME] += left
            self._waiting.clear()
            self._posting = 0

    @property
    def summary(self) -> str:
        """What came of all events, in one line."""
        text = f"live events to {self.shown}: {self.delivered} delivered"
        if self.lost:
            reasons = ", ".join(f"{reason}: {count}" for reason, count in self.lost.most_common())
            text += f", {self.lost.total()} lost ({reasons})"
        return text

    def _enveloped(self, event: Event) -> CloudEvent:
        return CloudEvent(
            specversion="1.0",
            id=f"{self._run}-{next(self._numbers)}",
            source=f"protoleak://{self._host}/{quote(event.source, safe='')}",
            type=TYPE + str(event.__struct_config__.tag),
            time=datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            subject=f"track/{event.track}" if isinstance(event, (FaceEvent, TrackEvent)) else None,
            datacontenttype="application/json",
            data=event,
        )

    def _deliver_all(self) -> None:
        while (envelope := self._next()) is not None:
            self._deliver(envelope)

    def _next(self) -> bytes | None:
        """The oldest event, once there is one; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            if self._ended.is_set() or not self._waiting:
                return None
            self._posting = 1
            return self._waiting.popleft()

    def _deliver(self, envelope: bytes) -> None:
        delay = self._settings.first_delay
        for attempt in range(1, self._settings.attempts + 1):
            answer = self._post(envelope)
            if self._ended.is_set():  # `close` has counted it
                return
            if isinstance(answer, Response) and answer.status in TAKEN:
                self._well()
                self._done(None)
                return
            if isinstance(answer, Response) and not _may_pass(answer.status):
                self._failing(f"{answer}: not tried again")
                self._done(str(answer))
                if answer.status == GONE:
                    self._give_up(str(answer))
                return
            self._failing(str(answer))
            if attempt < self._settings.attempts:
                asked = answer.retry_after if isinstance(answer, Response) else None
                wait = delay * random.uniform(0.75, 1.25) if asked is None else asked
                delay = min(2 * delay, self._settings.longest_delay)
                if self._ended.wait(min(wait, self._settings.longest_delay)):
                    return
        self._done(f"no success in {self._settings.attempts} tries")

    def _done(self, reason: str | None) -> None:
        """Counts the event that was posted: delivered, or lost for a reason."""
        with self._changed:
            if not self._posting:
                return
            self._posting = 0
            if reason is None:
                self.delivered += 1
            else:
                self.lost[reason] += 1

    def _give_up(self, reason: str) -> None:
        """The receiver wants nothing more."""
        with self._changed:
            self._ended.set()
            if self._waiting:
                self.lost[reason] += len(self._waiting)
            self._waiting.clear()

    def _failing(self, reason: str) -> None:
        if self._failing_since is None:
            self._failing_since = time.monotonic()
            self._notify(f"live events to {self.shown}: {reason}")

    def _well(self) -> None:
        if self._failing_since is not None:
            seconds = time.monotonic() - self._failing_since
            self._failing_since = None
            self._notify(f"live events to {self.shown}: taken again after {seconds:.1f} s")


class _SourceEvents:
    """The sink of one source."""

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook

    def start(self, info: SourceInfo) -> None:
        """Events alone are posted."""

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:
        """Events alone are posted."""

    def event(self, event: Event, crop: UInt8Array | None) -> None:  # noqa: ARG002 part of Sink
        self._webhook.put(event)

    def finish(self, statistics: Statistics) -> None:
        """The webhook serves all sources, and is closed after the last one."""


def _may_pass(status: int) -> bool:
    return status in PASSING or status >= 500
