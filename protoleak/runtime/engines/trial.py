"""A graph from a stranger is opened in a process with limits before it is opened here: engines can't be interrupted.

While a session is made, an engine folds constants, packs weights and compiles kernels. It listens to nobody then, and
ONNX Runtime even keeps Python's lock. `bundle.graph_sizes` bounds what a graph asks for; this bounds what an engine
makes of it.
"""

from __future__ import annotations

import select
import time
from collections.abc import Sequence

import msgspec

from protoleak.errors import EngineError
from protoleak.isolation.limits import Limits, resident_bytes
from protoleak.isolation.messages import ConnectionEnded, TimeIsUp, receive, send
from protoleak.isolation.worker import CAN_ISOLATE, Task, Worker
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.engines.base import Graph

# Of processor time, since a busy machine keeps a process waiting; an engine that waits without computing is given up
# after the other. An SD 2.1 encoder takes 0.7 s and 0.6 GB in ONNX Runtime, 1.9 s and 0.7 GB in OpenVINO.
LIMITS = Limits(processor_seconds=10, wall_seconds=120.0, memory=1024 * 2**20)
TRIED = ("onnxruntime", "openvino")  # a GPU's plans take minutes to build, and say how far they are
LOOK_SECONDS = 0.02  # between two looks at the memory; a process fills about 50 MB in that time
LONGEST_ERROR = 1000  # characters that are taken from the process
TASK = Task("open", "take a bundle signed with a key that you trust (--trusted-key)")


class ToOpen(msgspec.Struct, frozen=True):
    """What the process is to open: the arguments of `open_engine`. The serialised model follows."""

    engine: str
    stage: str
    outputs: tuple[str, ...]
    compute: str


def try_opening(
    engine: str, graphs: Sequence[Graph], options: EngineOptions, *, beside: int = 0, limits: Limits = LIMITS
) -> None:
    """Opens graphs in a process with limits, one beside the other, and ends it. Does nothing where there are no limits
    (Windows), or for a GPU's engines.

    Args:
        engine: one of `engines.ENGINES`.
        beside: bytes that this process holds of the bundle besides these graphs, which count as used.

    Raises:
        EngineError: opening a graph takes more than the limits allow, or crashes the process; or the engine refuses it.
        ProtoleakError: no process can be started.
    """
    if engine not in TRIED or not CAN_ISOLATE:
        return
    worker = Worker("protoleak.runtime.engines.trial_process", limits, TASK)
    try:
        for graph in graphs:
            if problem := _try(worker, engine, graph, options, limits, limits.memory - beside):
                raise EngineError(
                    f"the {graph.stage} cannot be opened in {engine}: {problem}: refused; take another bundle or "
                    "variant"
                )
    finally:
        worker.end()


def _try(worker: Worker, engine: str, graph: Graph, options: EngineOptions, limits: Limits, memory: int) -> str | None:
    """What is wrong with a graph, or None."""
    end = time.monotonic() + limits.wall_seconds
    asked = ToOpen(engine, graph.stage, graph.outputs, options.compute)
    try:
        worker.connection.settimeout(limits.wall_seconds)
        send(worker.connection, msgspec.msgpack.encode(asked))
        send(worker.connection, graph.model)
        while not select.select([worker.connection], [], [], LOOK_SECONDS)[0]:
            if (resident_bytes(worker.pid) or 0) > memory:
                return f"it takes more than {limits.memory // 2**20} MB of memory to open"
            if time.monotonic() > end:
                raise TimeIsUp
        answer = receive(worker.connection, limits.wall_seconds).decode("utf-8", "replace")
    except TimeIsUp:
        return f"it takes more than {limits.wall_seconds:g} s to open"
    except ConnectionEnded:
        return worker.why_ended()
    return answer[:LONGEST_ERROR] or None
