"""A plan on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from protoleak.errors import EngineError
from protoleak.runtime.cuda.arrays import DeviceArray
from protoleak.runtime.cuda.device import CudaWorker
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.engines.base import TOGETHER, EngineDescription, Graph, check_outputs
from protoleak.runtime.engines.failures import explain
from protoleak.runtime.engines.gpu import find_gpu
from protoleak.runtime.engines.on_stream import StreamEngine
from protoleak.runtime.engines.tensorrt.builder import log_class
from protoleak.runtime.engines.tensorrt.layers import precisions_of_inspector
from protoleak.runtime.engines.tensorrt.library import load_library
from protoleak.runtime.engines.tensorrt.plan_cache import PlanCache
from protoleak.runtime.engines.tensorrt.plans import open_plan
from protoleak.runtime.engines.tensorrt.ports import check_plan


class TensorRtEngine(StreamEngine):
    """A graph as a TensorRT or TensorRT-RTX plan.

    Attributes:
        worker: the CUDA stream that it runs on. Give one, to have several engines and kernels on the same stream.
        batch_maximum: the largest batch of the plan; `run` takes larger ones in parts.
        capturable: its runs may be captured in CUDA graphs.
        layers: precision → number of layers, from the engine inspector.
    """

    capturable = True

    def __init__(
        self,
        name: str,
        graph: Graph,
        options: EngineOptions | None = None,
        worker: CudaWorker | None = None,
        *,
        captured: bool = False,
    ) -> None:
        """
        Args:
            name: "tensorrt" or "tensorrt-rtx".
            captured: `enqueue` is going to be captured in CUDA graphs: each batch size then gets an execution context
                of its own, because a graph goes on using its context's memory, which another shape would change.

        Raises:
            EngineUnavailable: the library, a driver or a GPU is missing.
            EngineOutOfMemory, EngineError: the plan cannot be built or loaded, or is one of another graph.
        """
        options = options or EngineOptions()
        library = load_library(name)
        gpu = find_gpu(options.device)
        super().__init__(name, graph, worker, options.device)
        trt = self._trt = library.module
        self._log = log_class(trt)()
        # Kept: an engine must not outlive its runtime.
        self._runtime = trt.Runtime(self._log)
        cache = PlanCache(notify=options.notify)
        self._engine, plan = open_plan(library, graph, options, gpu, cache, self._runtime.deserialize_cuda_engine)
        self._captured = captured
        self._contexts: dict[int, Any] = {}
        self._context = self._new_context()
        tensors = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        self._inputs = [tensor for tensor in tensors if self._engine.get_tensor_mode(tensor) == trt.TensorIOMode.INPUT]
        self._outputs = [tensor for tensor in tensors if tensor not in self._inputs]
        check_plan(library, graph, self._engine)
        check_outputs(graph, set(self._outputs))
        self.batch_maximum = int(self._engine.get_tensor_profile_shape(self._inputs[0], 0)[2][0])
        self.layers = self._inspect() or plan.record.layers
        self._description = EngineDescription(
            name,
            f"{gpu.name} (compute capability {gpu.compute_capability})",
            {"numpy": np.__version__, name: library.version},
            {
                "batch": TOGETHER,
                "layers": ", ".join(f"{count} {precision}" for precision, count in self.layers.items()) or "unreported",
                "plan_sha256": plan.record.plan_sha256,
            },
        )

    def describe(self) -> EngineDescription:
        return self._description

    def release(self) -> None:
        """See `StreamEngine.release`."""
        self._contexts.clear()
        self._context = self._engine = self._runtime = None

    def buffers(self, batch: int) -> dict[str, DeviceArray]:
        """See `StreamEngine.buffers`."""
        self._set_shapes(batch)
        return {tensor: self._buffer(tensor) for tensor in (*self._inputs, *self._outputs)}

    def enqueue(self, batch: int, bound: Mapping[str, DeviceArray] | None = None) -> None:
        """See `StreamEngine.enqueue`."""
        memory = self.buffers(batch) | dict(bound or {})
        addressed = [self._context.set_tensor_address(tensor, array.pointer) for tensor, array in memory.items()]
        if not all(addressed) or not self._context.execute_async_v3(int(self.worker.stream.handle)):
            raise explain(self._log.reason() or "the run could not be enqueued", self._graph.stage, self._name)

    def _new_context(self) -> Any:
        context = self._engine.create_execution_context()
        if context is None:
            raise explain(self._log.reason() or "out of memory", self._graph.stage, self._name)
        return context

    def _set_shapes(self, batch: int) -> None:
        if not 1 <= batch <= self.batch_maximum:
            raise EngineError(
                f"a batch of {batch} for a plan of 1 to {self.batch_maximum}: build it with --batch-maximum"
            )
        if self._captured:
            if batch not in self._contexts:
                self._contexts[batch] = self._new_context() if self._contexts else self._context
            self._context = self._contexts[batch]
        for tensor in self._inputs:
            fixed = tuple(self._engine.get_tensor_shape(tensor))[1:]
            if not self._context.set_input_shape(tensor, (batch, *fixed)):
                raise explain(self._log.reason() or f"it takes no batch of {batch}", self._graph.stage, self._name)

    def _buffer(self, tensor: str) -> DeviceArray:
        shape = tuple(self._context.get_tensor_shape(tensor))
        dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(tensor)))
        return self.worker.buffer(f"{self._graph.stage} {tensor}", shape, dtype)

    def _inspect(self) -> dict[str, int]:
        inspector = self._engine.create_engine_inspector()
        return precisions_of_inspector(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))
