"""An engine that works on a stream of the GPU, from and into memory there, and how it is run from host memory."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from protoleak.arrays import Array
from protoleak.errors import EngineError
from protoleak.runtime.cuda.arrays import DeviceArray
from protoleak.runtime.cuda.device import CudaWorker
from protoleak.runtime.engines.base import EngineDescription, Graph, check_finite
from protoleak.runtime.engines.failures import explain


class StreamEngine(ABC):
    """A graph on a worker's stream; an `Engine`. What differs between libraries is left to them.

    Attributes:
        worker: the stream.
        batch_maximum: the largest batch that it takes; `run` takes larger ones in parts.
        capturable: whether its runs may be captured in a CUDA graph.
    """

    batch_maximum: int
    capturable: bool

    def __init__(self, name: str, graph: Graph, worker: CudaWorker | None, device: int) -> None:
        """
        Args:
            name: the engine's, for messages.
            worker: to have several engines and kernels on the same stream; None for a stream of its own.
            device: CUDA device ordinal, where it has its own.

        Raises:
            MissingExtra: cuda.core is not installed.
            EngineUnavailable: there is no driver or no such device.
        """
        self._name, self._graph = name, graph
        self.worker = worker or CudaWorker(device)
        self._owns_worker, self._closed, self._lock = worker is None, False, threading.Lock()

    @abstractmethod
    def describe(self) -> EngineDescription:
        """See `Engine.describe`."""

    @abstractmethod
    def buffers(self, batch: int) -> dict[str, DeviceArray]:
        """The memory of every input and output for a batch size, made once and always the same: for kernels that write
        the inputs and read the outputs on `worker.stream`, with `enqueue` between them."""

    @abstractmethod
    def enqueue(self, batch: int, bound: Mapping[str, DeviceArray] | None = None) -> None:
        """Enqueues one run on `worker.stream`, without waiting or copying.

        The first run of a batch size may allocate, so it has to be before a capture in a CUDA graph.

        Args:
            bound: other memory for some of the tensors, such as another engine's output; `buffers(batch)` for the rest.

        Raises:
            EngineOutOfMemory, EngineError: the library refuses; the message names the stage.
        """

    @abstractmethod
    def release(self) -> None:
        """Gives the engine's own memory back, and leaves the worker to whoever else uses it."""

    def close(self) -> None:
        """See `Engine.close`. The worker goes with the engine that made it."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self.worker.enter_thread()
            self.release()
            if self._owns_worker:
                self.worker.close()

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """See `Engine.run`."""
        count, most = len(next(iter(feeds.values()))), self.batch_maximum
        with self._lock:
            parts = [
                self._run_part({tensor: values[first : first + most] for tensor, values in feeds.items()})
                for first in range(0, count, most)
            ]
        outputs = {tensor: np.concatenate([part[tensor] for part in parts]) for tensor in self._graph.outputs}
        check_finite(self._graph.stage, outputs)
        return outputs

    def _run_part(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        batch = len(next(iter(feeds.values())))
        try:
            memory = self.buffers(batch)
            for tensor, values in feeds.items():
                expected = memory[tensor]
                if values.shape != expected.shape or values.dtype != expected.dtype:
                    raise EngineError(
                        f"the {self._graph.stage} failed in {self._name}: {tensor!r} is {values.dtype} "
                        f"{list(values.shape)}, it takes {expected.dtype} {list(expected.shape)}"
                    )
                self.worker.write(expected, values)
            self.enqueue(batch)
            return {tensor: self.worker.read(memory[tensor]) for tensor in self._graph.outputs}
        except EngineError:
            raise
        except Exception as error:  # cuda.core's and the library's own classes
            raise explain(error, self._graph.stage, self._name) from error
