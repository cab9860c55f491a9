"""Both engines and the kernels in one CUDA graph per batch size: one launch in place of hundreds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from protoleak.errors import EngineError
from protoleak.runtime.cuda.device import CudaWorker


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
    """Runs stages in order, as one CUDA graph for each batch size that occurs.

    The first run of a batch size is without a graph: TensorRT and lazy loading allocate then, which a capture forbids.
    Its result is as good as any other's. The second run captures.

    Args:
        worker: whose stream everything is enqueued on.
        stages: such as latent encoder, noising, attributor.
        enabled: False runs the stages one by one for ever, to compare.
    """

    def __init__(self, worker: CudaWorker, stages: Sequence[Stage], *, enabled: bool = True) -> None:
        self.worker, self.stages, self.enabled = worker, tuple(stages), enabled
        self._graphs: dict[int, Any] = {}

    @property
    def captured(self) -> tuple[int, ...]:
        """The batch sizes that have a graph."""
        return tuple(size for size, graph in self._graphs.items() if graph is not None)

    def enqueue(self, batch_size: int) -> None:
        """Enqueues all stages for a batch size on the worker's stream. Results are there after `worker.synchronize`.

        Raises:
            EngineError: a stage failed, or did something that a graph cannot hold; the message names the stage.
        """
        if not self.enabled or batch_size not in self._graphs:
            self._enqueue_stages(batch_size, "failed")
            self._graphs[batch_size] = None
            return
        graph = self._graphs[batch_size]
        if graph is None:
            graph = self._graphs[batch_size] = self._capture(batch_size)
        graph.launch(self.worker.stream)

    def close(self) -> None:
        """Waits for the stream and destroys the graphs. To be called before memory that they use is given back."""
        self.worker.synchronize()
        for graph in self._graphs.values():
            if graph is not None:
                graph.close()
        self._graphs.clear()

    def _capture(self, batch_size: int) -> Any:
        self.worker.synchronize()
        builder = self.worker.stream.create_graph_builder()
        try:
            # Calls that would break a capture are refused on this thread alone: other workers go on meanwhile.
            builder.begin_building("thread_local")
            try:
                self._enqueue_stages(batch_size, "cannot be captured in a CUDA graph")
            except EngineError:
                # Takes the stream out of the capture, so that it can be used again; the failure is raised below.
                with suppress(Exception):
                    builder.end_building()
                raise
            try:
                return builder.end_building().complete()
            except Exception as error:  # cuda.core's error classes are private
                names = ", ".join(stage.name for stage in self.stages)
                raise EngineError(
                    f"{names} cannot be captured in a CUDA graph for batch size {batch_size}: {error}"
                ) from error
        finally:
            builder.close()

    def _enqueue_stages(self, batch_size: int, failure: str) -> None:
        for stage in self.stages:
            try:
                stage.enqueue(batch_size)
            except Exception as error:
                raise EngineError(f"the {stage.name} {failure} for batch size {batch_size}: {error}") from error
