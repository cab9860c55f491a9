"""A source that is opened, read and decoded in a worker process: a hostile file costs its worker and one line."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Literal

import msgspec
import numpy as np

from protoleak.errors import MediaError
from protoleak.images.sources import name_in_messages
from protoleak.isolation.limits import Limits
from protoleak.isolation.messages import ConnectionEnded, TimeIsUp, receive, send
from protoleak.isolation.worker import Worker
from protoleak.video.frames import Frame, Gap, Sound, SourceInfo
from protoleak.video.sources.containers import MAXIMUM_PIXELS
from protoleak.video.sources.network_settings import NetworkSettings

LONGEST_ERROR = 1000  # characters that are taken from a worker
# Beside a frame, a decoder holds up to 16 that it rests on; 8K in 4:2:0 has 50 MB.
VIDEO_LIMITS = Limits(memory=1536 * 2**20)


class Open(msgspec.Struct, frozen=True):
    """What to open: the arguments of `open_source`."""

    name: str
    network: NetworkSettings


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says: of its source, of a frame (whose pixels follow), of a gap, of its end."""

    kind: Literal["info", "frame", "gap", "error", "end"]
    text: str = ""
    live: bool = False
    width: int | None = None
    height: int | None = None
    rate: tuple[int, int] | None = None
    duration: float | None = None
    sha256: str | None = None
    sound: bool = False
    notes: tuple[str, ...] = ()
    index: int = 0
    timestamp: float = 0.0
    seconds: float | None = None
    key: bool = False


class IsolatedSource:
    """As the source that `open_source` gives, see there.

    Args:
        network: limits and transport of an address.
        waits: seconds for the next frame; None for live sources, which have limits of their own.

    Raises:
        MediaError: it cannot be opened, or takes more time or memory than any source may.
        ProtoleakError: no worker can be started here.
    """

    def __init__(
        self, name: str, *, network: NetworkSettings, waits: float | None, limits: Limits = VIDEO_LIMITS
    ) -> None:
        self._shown = name_in_messages(name)
        self._waits, self._limits = waits, limits
        self._closed = threading.Event()
        self._worker = Worker("protoleak.video.sources.reading_process", limits)
        try:
            send(self._worker.connection, msgspec.msgpack.encode(Open(name, network)))
            self.info = self._info(self._next())
        except BaseException:
            self._worker.end()
            raise

    def __iter__(self) -> Iterator[Frame | Gap]:
        """See `FrameSource`."""
        while not self._closed.is_set():
            try:
                send(self._worker.connection, b"next")
                message = self._next()
                if message.kind == "end":
                    return
                if message.kind == "gap":
                    yield Gap(message.timestamp, message.seconds, message.text)
                    continue
                width, height = message.width or 0, message.height or 0
                pixels = receive(self._worker.connection, 5.0)
            except (ConnectionEnded, TimeIsUp):
                if self._closed.is_set():
                    return
                raise MediaError(f"{self._shown}: {self._worker.why_ended()}: refused") from None
            if not 0 < width * height <= MAXIMUM_PIXELS or len(pixels) != 3 * width * height:
                raise MediaError(
                    f"{self._shown}: damaged: the process that decoded it gave something else than a frame"
                )
            if message.notes != self.info.notes or (width, height) != (self.info.width, self.info.height):
                self.info = replace(self.info, width=width, height=height, notes=message.notes)
            image = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
            yield Frame(message.index, message.timestamp, image, time.monotonic(), message.key)

    def close(self) -> None:
        """See `FrameSource`."""
        self._closed.set()
        self._worker.end()

    def _next(self) -> Message:
        """
        Raises:
            MediaError: the worker says that nothing more can be read, or reached one of its limits.
        """
        try:
            message = msgspec.msgpack.decode(receive(self._worker.connection, self._waits), type=Message)
        except TimeIsUp:
            self._worker.end()
            raise MediaError(f"{self._shown}: more than {self._waits:g} s for one frame: refused") from None
        except (ConnectionEnded, msgspec.DecodeError):
            if self._closed.is_set():
                return Message(kind="end")
            raise MediaError(f"{self._shown}: {self._worker.why_ended()}: refused") from None
        if message.kind == "error":
            raise MediaError(message.text[:LONGEST_ERROR])
        return message

    def _info(self, message: Message) -> SourceInfo:
        rate = Fraction(*message.rate) if message.rate is not None and message.rate[1] else None
        return SourceInfo(
            name=message.text[:LONGEST_ERROR],
            kind="file" if message.sha256 is not None else "network",
            live=message.live,
            width=message.width,
            height=message.height,
            rate=rate,
            duration=message.duration,
            sha256=message.sha256,
            notes=message.notes,
            sound=Sound(None, Fraction()) if message.sound else None,  # its file is for the worker alone
        )
