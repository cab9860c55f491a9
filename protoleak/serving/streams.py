"""All live sources of a server: which hosts may be named, how many run at once, and their server-sent events."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from protoleak.errors import ProtoleakError
from protoleak.runtime.drift import DriftEvent
from protoleak.serving.judging import BundleJudge
from protoleak.serving.refusal import Refusal, busy
from protoleak.serving.stream import Stream, StreamRecord, StreamRequest
from protoleak.strict_json import decode_json
from protoleak.video.settings import StreamSettings

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
