"""What runs in a worker process that reads a video: it opens what it is told to, and gives frames when asked."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import msgspec

from protoleak.errors import ProtoleakError
from protoleak.isolation.limits import Limits, limit_memory, limit_processor_time
from protoleak.isolation.messages import ConnectionEnded, receive, send
from protoleak.video.frames import Frame, FrameSource
from protoleak.video.sources.isolated import Message, Open
from protoleak.video.sources.open import open_source


def main(descriptor: int, limits: Sequence[float]) -> None:
    """Serves one source until its end, or until the other side hangs up.

    Args:
        descriptor: of the socket.
        limits: the fields of `Limits`.
    """
    given = Limits(int(limits[0]), limits[1], int(limits[2]))
    connection = socket.socket(fileno=descriptor)
    import av  # noqa: F401  before memory is limited

    limit_memory(given)
    send(connection, b"ready")
    try:
        asked = msgspec.msgpack.decode(receive(connection), type=Open)
        limit_processor_time(given)
        _serve(connection, asked, given)
    except ConnectionEnded:
        return
    except (ProtoleakError, MemoryError) as error:
        text = str(error) or f"it takes more than {given.memory // 2**20} MB of memory: refused"
        _say(connection, Message(kind="error", text=text))


def _serve(connection: socket.socket, asked: Open, limits: Limits) -> None:
    source = open_source(asked.name, network=asked.network)
    _say(connection, _of(source))
    for item in source:
        receive(connection)
        limit_processor_time(limits)
        if not isinstance(item, Frame):
            _say(connection, Message(kind="gap", text=item.reason, timestamp=item.timestamp, seconds=item.seconds))
            continue
        height, width = item.shape
        notes = source.info.notes
        frame = Message(
            kind="frame",
            index=item.index,
            timestamp=item.timestamp,
            key=item.key,
            width=width,
            height=height,
            notes=notes,
        )
        _say(connection, frame)
        send(connection, item.image.tobytes())
    receive(connection)
    _say(connection, Message(kind="end"))


def _of(source: FrameSource) -> Message:
    info = source.info
    return Message(
        kind="info",
        text=info.name,
        live=info.live,
        width=info.width,
        height=info.height,
        rate=None if info.rate is None else (info.rate.numerator, info.rate.denominator),
        duration=info.duration,
        sha256=info.sha256,
        sound=info.sound is not None,
        notes=info.notes,
    )


def _say(connection: socket.socket, message: Message) -> None:
    send(connection, msgspec.msgpack.encode(message))
