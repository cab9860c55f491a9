"""An engine that works on a stream of the GPU, from and into memory there, and how it is run from host memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from protoleak.arrays import Array
from protoleak.errors import EngineError
from protoleak.runtime.cuda.arrays import DeviceArray
from protoleak.runtime.cuda.device import CudaWorker
from protoleak.runtime.engines.base import Engine, Graph, check_finite
from protoleak.runtime.engines.failures import explain


class StreamEngine(Engine, Protocol):
    """A graph on a worker's stream.

    Attributes:
        worker: the stream.
        batch_maximum: the largest batch that it takes.
        capturable: whether its runs may be captured in a CUDA graph.
    """

    worker: CudaWorker
    batch_maximum: int
    capturable: bool

    def buffers(self, batch: int) -> dict[str, DeviceArray]:
        """The memory of every input and output for a batch size, made once and always the same: for kernels that write
        the inputs and read the outputs on `worker.stream`, with `enqueue` between them."""
        ...

    def enqueue(self, batch: int, bound: Mapping[str, DeviceArray] | None = None) -> None:
        """Enqueues one run on `worker.stream`, without waiting or copying.

        The first run of a batch size may allocate, so it has to be before a capture in a CUDA graph.

        Args:
            bound: other memory for some of the tensors, such as another engine's output; `buffers(batch)` for the rest.

        Raises:
            EngineOutOfMemory, EngineError: the library refuses; the message names the stage.
        """
        ...

    def release(self) -> None:
        """Gives the engine's own memory back, and leaves the worker to whoever else uses it."""
        ...


def run_from_host(engine: StreamEngine, graph: Graph, name: str, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """What `Engine.run` promises, by way of the engine's memory on the GPU; large batches in parts.

    Args:
        name: the engine's, for messages.

    Raises:
        EngineError: see `Engine.run`.
    """
    count, most = len(next(iter(feeds.values()))), engine.batch_maximum
    parts = [
        _run_part(engine, graph, name, {tensor: values[first : first + most] for tensor, values in feeds.items()})
        for first in range(0, count, most)
    ]
    outputs = {tensor: np.concatenate([part[tensor] for part in parts]) for tensor in graph.outputs}
    check_finite(graph.stage, outputs)
    return outputs


def _run_part(engine: StreamEngine, graph: Graph, name: str, feeds: Mapping[str, Array]) -> dict[str, Array]:
    batch = len(next(iter(feeds.values())))
    try:
        memory = engine.buffers(batch)
        for tensor, values in feeds.items():
            expected = memory[tensor]
            if values.shape != expected.shape or values.dtype != expected.dtype:
                raise EngineError(
                    f"the {graph.stage} failed in {name}: {tensor!r} is {values.dtype} {list(values.shape)}, it takes "
                    f"{expected.dtype} {list(expected.shape)}"
                )
            engine.worker.write(expected, values)
        engine.enqueue(batch)
        return {tensor: engine.worker.read(memory[tensor]) for tensor in graph.outputs}
    except EngineError:
        raise
    except Exception as error:  # cuda.core's and the library's own classes
        raise explain(error, graph.stage, name) from error
