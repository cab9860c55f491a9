"""ONNX Runtime's CUDA provider on a stream of ours: what goes in and comes out stays on the GPU."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from protoleak.errors import EngineError
from protoleak.runtime.cuda.arrays import DeviceArray
from protoleak.runtime.cuda.device import CudaWorker
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.engines.base import (
    TOGETHER,
    EngineDescription,
    Graph,
    after_time_limit,
    check_outputs,
    check_same_graph,
    too_slow,
)
from protoleak.runtime.engines.failures import explain
from protoleak.runtime.engines.gpu import find_gpu
from protoleak.runtime.engines.on_stream import StreamEngine
from protoleak.runtime.engines.onnxruntime import reported
from protoleak.runtime.engines.onnxruntime_gpu import CUDA, PACKAGE, cuda_settings, import_gpu_build, open_session

NAME = "onnxruntime-cuda"
MOST_IMAGES = 256  # in a batch; the memory of each size is kept
ELEMENT_TYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(uint8)": np.dtype(np.uint8),
}
# The provider waits for its stream after each run otherwise, which a capture forbids and nothing here needs.
UNWAITING = "disable_synchronize_execution_providers", "1"


class OnnxRuntimeStreamEngine(StreamEngine):
    """A graph in ONNX Runtime's CUDA provider; a `StreamEngine`. TF32 is off, as in `OnnxRuntimeGpuEngine`.

    Attributes:
        worker: the CUDA stream that it runs on.
        batch_maximum: MOST_IMAGES; no plan sets a smaller one.
        capturable: not safely. It saved a millisecond on an H100, and one capture in ten was invalidated by what ONNX
            Runtime did in it, in a way that the next run could not recover from (decision 39).
    """

    batch_maximum = MOST_IMAGES
    capturable = False

    def __init__(
        self,
        graph: Graph,
        options: EngineOptions | None = None,
        worker: CudaWorker | None = None,
        threads: int | None = None,
        *,
        device_type: str = "cuda",
    ) -> None:
        """
        Args:
            worker: to have several engines and kernels on the same stream; None for a stream of its own.
            threads: of the processor, for what doesn't run on the GPU; None for all cores.
            device_type: ONNX Runtime's word for where the memory lies; "cpu" shows the same path without a GPU.

        Raises:
            MissingExtra: cuda.core is not installed.
            EngineUnavailable: no GPU, a library is missing, or ONNX Runtime gave other providers than the one asked
                for.
            EngineOutOfMemory, EngineError: the graph doesn't fit, or is refused.
        """
        options = options or EngineOptions()
        gpu = find_gpu(options.device)
        self._onnxruntime = import_gpu_build(NAME)
        super().__init__(NAME, graph, worker, options.device)
        stream = {"user_compute_stream": str(int(self.worker.stream.handle))}
        providers = [(CUDA, cuda_settings(options.device) | stream)]
        self._session: Any = open_session(self._onnxruntime, graph, NAME, providers, threads)
        check_outputs(graph, {output.name for output in self._session.get_outputs()})
        check_same_graph(graph, NAME, *reported(self._session))
        self._device = (device_type, options.device if device_type == "cuda" else 0)
        self._memory: dict[int, dict[str, DeviceArray]] = {}
        self._inputs = tuple(item.name for item in self._session.get_inputs())
        self._description = EngineDescription(
            NAME,
            f"{CUDA} on {gpu.name} (compute capability {gpu.compute_capability})",
            {"numpy": np.__version__, PACKAGE: self._onnxruntime.__version__},
            {"batch": TOGETHER, "tf32": "off"},
        )

    def describe(self) -> EngineDescription:
        return self._description

    def buffers(self, batch: int) -> dict[str, DeviceArray]:
        """See `StreamEngine.buffers`.

        The graph is run once for each batch size that occurs: ONNX Runtime tells the outputs' shapes by that alone,
        chooses its convolutions then, and takes the memory that later runs find there.
        """
        if batch not in self._memory:
            if not 1 <= batch <= self.batch_maximum:
                raise EngineError(f"a batch of {batch} for an engine of 1 to {self.batch_maximum}: run it in parts")
            self._memory[batch] = self._made(batch)
        return self._memory[batch]

    def enqueue(self, batch: int, bound: Mapping[str, DeviceArray] | None = None) -> None:
        """See `StreamEngine.enqueue`."""
        given = bound or {}
        binding = self._session.io_binding()
        for name, array in self.buffers(batch).items():
            bind = binding.bind_input if name in self._inputs else binding.bind_output
            # The shape is this graph's: latents of all looks lie behind each other as faces of looks do.
            bind(name, *self._device, array.dtype, array.shape, given.get(name, array).pointer)
        self._run(binding)

    def release(self) -> None:
        """See `StreamEngine.release`."""
        self.worker.synchronize()
        self._session = None
        self._memory.clear()

    def _made(self, batch: int) -> dict[str, DeviceArray]:
        memory, binding = {}, self._session.io_binding()
        for item in self._session.get_inputs():
            shape = (batch, *item.shape[1:])
            if not all(isinstance(length, int) for length in shape):
                raise EngineError(
                    f"the {self._graph.stage} leaves more than the batch of {item.name!r} open: {item.shape}; export "
                    "it again"
                )
            array = memory[item.name] = self._buffer(item.name, shape, ELEMENT_TYPES[item.type])
            self.worker.write(array, np.zeros(shape, array.dtype))
            binding.bind_input(item.name, *self._device, array.dtype, array.shape, array.pointer)
        for name in self._graph.outputs:
            binding.bind_output(name, *self._device)
        self._run(binding)
        self.worker.synchronize()
        for name, output in zip(self._graph.outputs, binding.get_outputs(), strict=True):
            memory[name] = self._buffer(name, tuple(output.shape()), ELEMENT_TYPES[output.data_type()])
        return memory

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
        return self.worker.buffer(f"{self._graph.stage} {name}", shape, dtype)

    def _run(self, binding: Any) -> None:
        options = self._onnxruntime.RunOptions()
        options.add_run_config_entry(*UNWAITING)
        with after_time_limit(partial(setattr, options, "terminate", True)) as run:
            try:
                self._session.run_with_iobinding(binding, options)
            except Exception as error:  # its exception classes are private to the compiled module
                if run.is_late:
                    raise too_slow(self._graph, NAME) from error
                raise explain(error, self._graph.stage, NAME) from error
