"""Messages between a process and its worker: a length and bytes, over a socket. Nothing in them is ever executed."""

from __future__ import annotations

import socket
import struct
import time

LENGTH = struct.Struct(">Q")
LONGEST = 2**31  # bytes: of pixels, the largest message; whatever a worker says, no more is received


class ConnectionEnded(Exception):
    """The other side has gone."""


class TimeIsUp(Exception):
    """Nothing more came, or was taken, in time."""


def send(connection: socket.socket, *parts: bytes | memoryview) -> None:
    """Sends one message that is all the parts behind one another.

    Raises:
        ConnectionEnded: the other side has gone.
        TimeIsUp: it didn't take the message within the connection's timeout, where it has one.
    """
    try:
        connection.sendall(LENGTH.pack(sum(len(part) for part in parts)))
        for part in parts:
            connection.sendall(part)
    except TimeoutError:
        raise TimeIsUp from None
    except OSError:
        raise ConnectionEnded from None


def receive(connection: socket.socket, seconds: float | None = None) -> bytearray:
    """The next message.

    Args:
        seconds: until all of it must have come; None for no limit.

    Raises:
        ConnectionEnded: the other side has gone, or says something that is no message.
        TimeIsUp: it didn't come in time.
    """
    end = None if seconds is None else time.monotonic() + seconds
    (length,) = LENGTH.unpack(_exactly(connection, LENGTH.size, end))
    if length > LONGEST:
        raise ConnectionEnded
    return _exactly(connection, length, end)


def _exactly(connection: socket.socket, count: int, end: float | None) -> bytearray:
    data = bytearray(count)
    rest = memoryview(data)
    while rest:
        if end is not None and end <= time.monotonic():
            raise TimeIsUp
        connection.settimeout(None if end is None else max(0.001, end - time.monotonic()))
        try:
            received = connection.recv_into(rest)
        except TimeoutError:
            raise TimeIsUp from None
        except OSError:
            raise ConnectionEnded from None
        if not received:
            raise ConnectionEnded
        rest = rest[received:]
    return data
