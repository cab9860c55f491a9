"""What runs in a worker process that decodes still images. It is handed bytes and gives pixels, and knows no files."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import msgspec
import numpy as np

from protoleak.errors import MediaError
from protoleak.images.decode import DecodedImage, decode
from protoleak.images.isolated import Request, Response
from protoleak.isolation.limits import Limits, limit_memory, limit_processor_time
from protoleak.isolation.messages import ConnectionEnded, receive, send


def main(descriptor: int, limits: Sequence[float]) -> None:
    """Answers requests until the other side hangs up.

    Args:
        descriptor: of the socket.
        limits: the fields of `Limits`.
    """
    given = Limits(int(limits[0]), limits[1], int(limits[2]))
    connection = socket.socket(fileno=descriptor)
    _import_decoders()
    limit_memory(given)
    send(connection, b"ready")
    while True:
        try:
            request = msgspec.msgpack.decode(receive(connection), type=Request)
            data = bytes(receive(connection))
        except ConnectionEnded:
            return
        limit_processor_time(given)
        outcome = _outcome(data, request, given)
        del data
        if isinstance(outcome, str):
            send(connection, msgspec.msgpack.encode(Response(outcome)))
            continue
        height, width = outcome.pixels.shape[:2]
        send(connection, msgspec.msgpack.encode(Response(None, width, height, outcome.notes, outcome.claims)))
        send(connection, np.ascontiguousarray(outcome.pixels).data.cast("B"))
        del outcome


def _outcome(data: bytes, request: Request, limits: Limits) -> DecodedImage | str:
    try:
        return decode(data, request.upright, request.maximum_pixels)
    except MediaError as error:
        return str(error)
    except MemoryError:
        return f"it takes more than {limits.memory // 2**20} MB of memory to decode: refused"


def _import_decoders() -> None:
    """All that decoding may import, before memory is limited: so that what is left is for the image alone."""
    import contextlib

    import simplejpeg  # noqa: F401
    from PIL import Image

    Image.init()
    with contextlib.suppress(ImportError):
        import pillow_heif  # noqa: F401
    with contextlib.suppress(ImportError):
        import c2pa  # noqa: F401
