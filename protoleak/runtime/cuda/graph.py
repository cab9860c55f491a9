"""Both engines and the kernels in one CUDA graph per batch size: one launch in place of hundreds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from protoleak.errors import EngineError
from protoleak.runtime.cuda.device import CudaWorker

MOST_GRAPHS = 32  # a caller may bring its input at ever new addresses


class CaptureRefused(EngineError):
    """The stages run, and a CUDA graph cannot hold them. Nothing was computed; the stream can be used as before."""


class Stage(NamedTuple):
    """A part of the work.

    Attributes:
        name: what messages call it.
        enqueue: takes the batch size, and enqueues on the worker's stream from and into memory that is always the same
            for that batch size. It neither waits nor copies to pageable memory, and allocates at most in its first run.
    """

    name: str
    enqueue: Callable[[int], None]


class GraphPerBatchSize:
    """Runs stages in order, as one CUDA graph for each batch size, and each address of the input, that occurs.

    The first run of a batch size is without a graph: TensorRT and lazy loading allocate then, which a capture forbids.
    Its result is as good as any other's. The second run captures.

    Args:
        worker: whose stream everything is enqueued on.
        stages: such as latent encoder, noising, attributor.
        enabled: False runs the stages one by one for ever, to compare.
    """

    def __init__(self, worker: CudaWorker, stages: Sequence[Stage], *, enabled: bool = True) -> None:
        self.worker, self.stages, self.enabled = worker, tuple(stages), enabled
        self._graphs: dict[tuple[int, int], Any] = {}  # the latest used last

    @property
    def captured(self) -> tuple[int, ...]:
        """The batch sizes that have a graph."""
        return tuple(size for (size, _), graph in self._graphs.items() if graph is not None)

    def enqueue(self, batch_size: int, address: int = 0) -> None:
        """Enqueues all stages for a batch size on the worker's stream. Results are there after `worker.synchronize`.

        Args:
            address: of an input that isn't always at the same place, which a graph holds fixed. Past MOST_GRAPHS pairs
                of batch size and address, the one that was used longest ago is forgotten.

        Raises:
            CaptureRefused: a stage did something that a graph cannot hold; the message names it.
            EngineError: a stage failed; the message names it.
        """
        key = batch_size, address
        if not self.enabled or key not in self._graphs:
            self._enqueue_stages(batch_size, "failed", EngineError)
            if self.enabled:
                self._graphs[key] = None
                self._forget()
            return
        graph = self._graphs.pop(key)
        try:
            if graph is None:
                graph = self._capture(batch_size)
        finally:
            self._graphs[key] = graph
        graph.launch(self.worker.stream)

    def close(self) -> None:
        """Waits for the stream and destroys the graphs. To be called before memory that they use is given back."""
        self.worker.synchronize()
        for graph in self._graphs.values():
            if graph is not None:
                graph.close()
        self._graphs.clear()

    def _forget(self) -> None:
        while len(self._graphs) > MOST_GRAPHS:
            graph = self._graphs.pop(next(iter(self._graphs)))
            if graph is not None:
                self.worker.synchronize()  # it may be running
                graph.close()

    def _capture(self, batch_size: int) -> Any:
        self.worker.synchronize()
        builder = self.worker.stream.create_graph_builder()
        try:
            # Calls that would break a capture are refused on this thread alone: other workers go on meanwhile.
            builder.begin_building("thread_local")
            try:
                self._enqueue_stages(batch_size, "cannot be captured in a CUDA graph", CaptureRefused)
            except EngineError:
                # Takes the stream out of the capture, so that it can be used again; the failure is raised below.
                with suppress(Exception):
                    builder.end_building()
                raise
            try:
                return builder.end_building().complete()
            except Exception as error:  # cuda.core's error classes are private
                names = ", ".join(stage.name for stage in self.stages)
                raise CaptureRefused(
                    f"{names} cannot be captured in a CUDA graph for batch size {batch_size}: {error}"
                ) from error
        finally:
            builder.close()

    def _enqueue_stages(self, batch_size: int, failure: str, kind: type[EngineError]) -> None:
        for stage in self.stages:
            try:
                stage.enqueue(batch_size)
            except Exception as error:
                if isinstance(error, EngineError) and kind is EngineError:
                    raise  # it names its stage, and its class says more, such as that memory ran out
                raise kind(f"the {stage.name} {failure} for batch size {batch_size}: {error}") from error
