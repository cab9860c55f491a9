"""A live source that a client has screened, in a thread of its own, and its events for whoever reads them."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from protoleak.arrays import UInt8Array
from protoleak.errors import ProtoleakError
from protoleak.runtime.drift import DriftEvent
from protoleak.serving.judging import BundleJudge
from protoleak.video.events import Event, FailureEvent
from protoleak.video.frames import Frame, SourceInfo
from protoleak.video.settings import StreamSettings
from protoleak.video.sink import TrackedFace
from protoleak.video.sources.redaction import without_secrets
from protoleak.video.statistics import Statistics

KEPT_EVENTS = 1000  # of each stream, for clients that come later or come back

State: TypeAlias = Literal["running", "ended"]


class StreamRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What POST /v1/streams takes.

    Attributes:
        source: `rtsp://`, `rtsps://`, `http://` or `https://` and an address, of a host that is allowed.
        every: seconds between two verdicts on one person.
        minimum_evidence: faces that a verdict on a person rests on.
        max_seconds: stop after so much of it.
    """

    source: str
    every: float = StreamSettings.every
    minimum_evidence: int = StreamSettings.minimum_evidence
    max_seconds: float | None = StreamSettings.max_seconds


class StreamRecord(msgspec.Struct, frozen=True):
    """What is said of a stream; the source without what may be secret in it.

    Attributes:
        events: where they are asked for.
        drift_faces, drift_evidence: as in the statistics of a source: faces that were compared with the calibration's,
            and the most evidence, to 1, that they are unlike those.
    """

    id: str
    source: str
    state: State
    events: str
    drift_faces: int = 0
    drift_evidence: float = 1.0


@dataclass(frozen=True)
class StreamEvent:
    """One server-sent event.

    Attributes:
        number: from 1, in the order in which they came.
        kind: "face", "track", "gap", "failure", "drift", or "end" for the last one.
        data: JSON.
    """

    number: int
    kind: str
    data: bytes

    @property
    def text(self) -> bytes:
        """As a client reads it."""
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (self.number, self.kind.encode(), self.data)


class _Ended(Exception):
    """Somebody ended the stream."""


class Stream:
    """One live source, screened in a thread of its own.

    Args:
        judge: that screens it; it is released when the stream has ended.
        drifted: called in the stream's thread when its images turn out to be unlike the calibration's.

    Attributes:
        id: by which it is asked for.
        ended: whether nothing more comes.
    """

    def __init__(
        self,
        asked: StreamRequest,
        judge: BundleJudge,
        settings: StreamSettings,
        drifted: Callable[[DriftEvent], None],
    ) -> None:
        self.id = secrets.token_urlsafe(9)
        self.ended = False
        self._asked, self._judge, self._settings, self._drifted = asked, judge, settings, drifted
        self._events: deque[StreamEvent] = deque(maxlen=KEPT_EVENTS)
        self._count = 0
        self._watch = _Watch()
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="protoleak-stream", daemon=True).start()

    @property
    def record(self) -> StreamRecord:
        """What is said of it."""
        return StreamRecord(
            self.id,
            without_secrets(self._asked.source),
            "ended" if self.ended else "running",
            f"/v1/streams/{self.id}/events",
            self._watch.drift_faces,
            self._watch.drift_evidence,
        )

    def end(self) -> None:
        """Ends it; the last events come a moment later."""
        self._watch.ending.set()

    def after(self, number: int) -> list[StreamEvent]:
        """The kept events with a higher number."""
        with self._changed:
            return [event for event in self._events if event.number > number]

    def _run(self) -> None:
        reason = "the source ended"
        try:
            events = self._judge.screener.streams([self._asked.source], self._settings, sinks=[self._watch])
            for event in events:
                if isinstance(event, DriftEvent):
                    self._drifted(msgspec.structs.replace(event, source=without_secrets(event.source)))
                self._add(str(event.__struct_config__.tag), msgspec.json.encode(event))
        except _Ended:
            reason = "ended by a request"
        except ProtoleakError as error:
            reason = str(error)
        except Exception as error:  # of a library: it ends this stream and no other
            reason = f"cannot be screened further: {type(error).__name__}"
        finally:
            self._add("end", msgspec.json.encode({"reason": without_secrets(reason)}))
            self.ended = True
            self._judge.release()

    def _add(self, kind: str, data: bytes) -> None:
        with self._changed:
            self._count += 1
            self._events.append(StreamEvent(self._count, kind, data))


class _Watch:
    """A sink that ends the screening when it is asked to; `screener.streams` closes the source then.

    Attributes:
        ending: set by whoever asks.
        drift_faces, drift_evidence: see `StreamRecord`.
    """

    def __init__(self) -> None:
        self.ending = threading.Event()
        self.drift_faces, self.drift_evidence = 0, 1.0

    def sink(self) -> _Watch:
        return self

    def source_failed(self, failure: FailureEvent) -> None:
        pass

    def start(self, info: SourceInfo) -> None:
        pass

    def frame(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:
        pass

    def event(self, event: Event, crop: UInt8Array | None) -> None:
        pass

    def status(self, statistics: Statistics) -> None:
        """A few times a second."""
        self.finish(statistics)
        if self.ending.is_set():
            raise _Ended

    def finish(self, statistics: Statistics) -> None:
        self.drift_faces, self.drift_evidence = statistics.drift_faces, statistics.drift_evidence
