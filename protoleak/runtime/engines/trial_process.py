"""What runs in the process in which graphs are opened by way of trial."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import cast

import msgspec

from protoleak.choices import Compute
from protoleak.errors import ProtoleakError
from protoleak.isolation.limits import Limits, limit_files, limit_processor_time
from protoleak.isolation.messages import ConnectionEnded, receive, send
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.engines import Engine, Graph, open_engine
from protoleak.runtime.engines.trial import ToOpen


def main(descriptor: int, limits: Sequence[float]) -> None:
    """Opens graphs, one beside the other, until the other side hangs up; answers each with what is wrong, or nothing.

    Args:
        descriptor: of the socket.
        limits: the fields of `Limits`. Its memory is watched from outside.
    """
    given = Limits(int(limits[0]), limits[1], int(limits[2]))
    connection = socket.socket(fileno=descriptor)
    limit_files()
    send(connection, b"ready")
    opened: list[Engine] = []  # all at once, as where they are used
    while True:
        try:
            asked = msgspec.msgpack.decode(receive(connection), type=ToOpen)
            model = bytes(receive(connection))
        except ConnectionEnded:
            return
        limit_processor_time(given)
        options, problem = EngineOptions(compute=cast("Compute", asked.compute)), ""
        try:
            graph = Graph(asked.stage, model, asked.outputs)
            opened.append(open_engine(asked.engine, graph, threads=1, options=options))
        except (ProtoleakError, MemoryError) as error:
            problem = str(error) or "memory ran out"
        send(connection, problem.encode())
