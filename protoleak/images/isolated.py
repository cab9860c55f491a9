"""Still images decoded in worker processes: a hostile file costs its worker, one line and at most five seconds."""

from __future__ import annotations

import queue
import threading

import msgspec
import numpy as np

from protoleak.errors import MediaError
from protoleak.images.claims.claim import Claim
from protoleak.images.decode import DecodedImage
from protoleak.images.formats.base import MAXIMUM_PIXELS
from protoleak.isolation.limits import Limits
from protoleak.isolation.messages import ConnectionEnded, TimeIsUp, receive, send
from protoleak.isolation.worker import Worker

LONGEST_ERROR = 1000  # characters that are taken from a worker


class Request(msgspec.Struct, frozen=True):
    """In front of the encoded bytes."""

    upright: bool
    maximum_pixels: int = MAXIMUM_PIXELS


class Response(msgspec.Struct, frozen=True):
    """In front of the pixels, uint8 [height, width, 3]; with an error there are none."""

    error: str | None
    width: int = 0
    height: int = 0
    notes: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()


class IsolatedDecoder:
    """Decodes as `images.decode.decode` does, each time in one of a few worker processes that are kept for the next
    image. May be used in several threads.

    Args:
        workers: at most; each thread beyond that waits for one.
        limits: of each worker.
        maximum_pixels: an image with more is refused before it is decoded.
    """

    def __init__(
        self,
        workers: int = 2,
        limits: Limits = Limits(),  # noqa: B008 frozen
        maximum_pixels: int = MAXIMUM_PIXELS,
    ) -> None:
        self._limits, self._maximum_pixels = limits, maximum_pixels
        self._idle: queue.LifoQueue[Worker | None] = queue.LifoQueue()
        for _ in range(workers):
            self._idle.put(None)  # one that is started when it is needed
        self._closed = threading.Event()

    def __call__(self, data: bytes, upright: bool) -> DecodedImage:
        """See `images.decode.decode`.

        Raises:
            MediaError: as there; or the worker reached one of its limits, or crashed.
            ProtoleakError: no worker can be started here.
        """
        worker = self._idle.get()
        try:
            if worker is None:
                worker = Worker("protoleak.images.decoding_process", self._limits)
            response, pixels = self._ask(worker, data, upright)
        except BaseException:
            if worker is not None:
                worker.end()
            self._idle.put(None)
            raise
        if self._closed.is_set():
            worker.end()
            worker = None
        self._idle.put(worker)
        if response.error is not None:
            raise MediaError(response.error[:LONGEST_ERROR])
        shape = response.height, response.width, 3
        return DecodedImage(np.frombuffer(pixels, np.uint8).reshape(shape), response.notes, response.claims)

    def close(self) -> None:
        """Ends the workers. May be called more than once; images that come later start new ones for themselves."""
        self._closed.set()
        kept: list[None] = []
        while not self._idle.empty():
            worker = self._idle.get()
            if worker is not None:
                worker.end()
            kept.append(None)
        for one in kept:
            self._idle.put(one)

    def _ask(self, worker: Worker, data: bytes, upright: bool) -> tuple[Response, memoryview]:
        head = msgspec.msgpack.encode(Request(upright, self._maximum_pixels))
        try:
            worker.connection.settimeout(self._limits.wall_seconds)
            send(worker.connection, head)
            send(worker.connection, data)
            response = msgspec.msgpack.decode(receive(worker.connection, self._limits.wall_seconds), type=Response)
            pixels = memoryview(b"" if response.error is not None else receive(worker.connection, 1.0))
        except TimeIsUp:
            raise MediaError(f"it takes more than {self._limits.wall_seconds:g} s to decode: refused") from None
        except (ConnectionEnded, msgspec.DecodeError):
            raise MediaError(f"{worker.why_ended()}: refused") from None
        count = response.width * response.height
        if response.error is None and not (0 < count <= MAXIMUM_PIXELS and len(pixels) == 3 * count):
            raise MediaError("damaged: the process that decoded it gave something else than an image")
        return response, pixels
