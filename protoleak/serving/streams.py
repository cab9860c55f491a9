"""Live sources that clients have screened: started by a request, read by another as server-sent events."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from protoleak.arrays import UInt8Array
from protoleak.errors import MissingExtra, ProtoleakError
from protoleak.runtime.drift import DriftEvent
from protoleak.serving.judging import BundleJudge
from protoleak.serving.refusal import Refusal, busy
from protoleak.strict_json import decode_json
from protoleak.video.events import Event, FailureEvent
from protoleak.video.frames import Frame, SourceInfo
from protoleak.video.settings import StreamSettings
from protoleak.video.sink import TrackedFace
from protoleak.video.sources.redaction import without_secrets
from protoleak.video.statistics import Statistics

KEPT_EVENTS = 1000  # of each stream, for clients that come later or come back
LONGEST_ADDRESS = 4096  # characters
KEPT_ENDED = 16  # streams that have ended and can still be read
HEARTBEAT_SECONDS = 15.0
POLL_SECONDS = 0.5
# Narrower than the standard, so that whoever opens it cannot read another host in it than is compared with the list.
ADDRESS = re.compile(
    r"(?:rtsps?|https?)://(?:[A-Za-z0-9._~!$&'()*+,;=:%-]*@)?(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])"
    r"(?P<port>:[0-9]{1,5})?(?:/[A-Za-z0-9._~!$&'()*+,;=:%/-]*)?(?:\?[A-Za-z0-9._~!$&'()*+,;=:%/?-]*)?",
    re.IGNORECASE,
)

State: TypeAlias = Literal["running", "ended"]


def need_video() -> None:
    """Raises MissingExtra where nothing is installed that reads live sources, before the first is asked for."""
    if importlib.util.find_spec("av") is None:
        raise MissingExtra("av", "video")


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


class Streams:
    """All live sources of a server.

    Args:
        hosts: that may be named: HOST, or HOST:PORT for that port alone.
        most: that are screened at once.
        drifted: see `Stream`.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        most: int,
        stopping: Callable[[], bool],
        drifted: Callable[[DriftEvent], None],
    ) -> None:
        self._hosts, self._drifted = {host.lower() for host in hosts}, drifted
        self._most, self._stopping = most, stopping
        self._streams: dict[str, Stream] = {}
        self._ending: list[Stream] = []  # forgotten, and not ended yet

    def start(self, body: bytes, acquired: Callable[[], BundleJudge]) -> Stream:
        """Starts what a request asks for.

        Args:
            acquired: gives what judges, to be released by the stream.

        Raises:
            Refusal: it is not well formed, its host isn't allowed, or as many run as may.
        """
        if not self._hosts:
            raise Refusal(
                403, "streams_not_allowed", "no live sources here: start the server with --allow-streams HOST"
            )
        try:
            asked = decode_json(body, StreamRequest)
            settings = StreamSettings(
                every=asked.every, minimum_evidence=asked.minimum_evidence, max_seconds=asked.max_seconds
            )
        except (msgspec.DecodeError, ProtoleakError) as error:
            raise Refusal(400, "bad_json", f'not {{"source": "rtsp://…"}}: {error}') from error
        self._check(asked.source)
        self._ending = [stream for stream in self._ending if not stream.ended]
        if sum(not stream.ended for stream in self._streams.values()) + len(self._ending) >= self._most:
            raise busy("too_many_streams", f"{self._most} live sources are screened already: end one")
        ended = [stream.id for stream in self._streams.values() if stream.ended]
        for old in ended[: max(0, len(ended) - KEPT_ENDED + 1)]:
            del self._streams[old]
        stream = Stream(asked, acquired(), settings, self._drifted)
        self._streams[stream.id] = stream
        return stream

    def get(self, name: str) -> Stream:
        """Raises Refusal where there is no such stream."""
        try:
            return self._streams[name]
        except KeyError:
            raise Refusal(404, "no_such_stream", "there is no stream of that id") from None

    def all(self) -> list[StreamRecord]:
        """By the order in which they were started."""
        return [stream.record for stream in self._streams.values()]

    def end(self, name: str) -> None:
        """Ends one and forgets it. Raises Refusal where there is no such stream."""
        stream = self._streams.pop(self.get(name).id)
        stream.end()
        self._ending.append(stream)

    def close(self) -> None:
        """Ends all."""
        for stream in self._streams.values():
            stream.end()

    async def events(self, stream: Stream, after: int) -> AsyncIterator[bytes]:
        """What a client reads, until the stream or the server ends.

        Args:
            after: the number of the last event that the client has; 0 for none.
        """
        spoken = time.monotonic()
        while True:
            ended = stream.ended  # before its events are taken, so that none comes between
            for event in stream.after(after):
                yield event.text
                after, spoken = event.number, time.monotonic()
            if ended or self._stopping():
                return
            if time.monotonic() > spoken + HEARTBEAT_SECONDS:
                yield b": still here\n\n"
                spoken = time.monotonic()
            await asyncio.sleep(POLL_SECONDS)

    def _check(self, source: str) -> None:
        found = ADDRESS.fullmatch(source) if len(source) <= LONGEST_ADDRESS else None
        if found is None:
            raise Refusal(400, "bad_source", "the source is no plain rtsp://, rtsps://, http:// or https:// address")
        host = found["host"].lower()
        if host not in self._hosts and host + (found["port"] or "") not in self._hosts:
            raise Refusal(403, "host_not_allowed", f"the host {host} is not one of --allow-streams")
