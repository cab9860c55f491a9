"""A whole executor on a played GPU: really built plans run by ONNX Runtime, kernels by their host build or NumPy.

A capture is played too: what is enqueued meanwhile is kept with the addresses and shapes of that moment, as a CUDA
graph keeps them, and is run by a launch. Copies, waits and allocations in a capture are refused, as CUDA refuses them.
"""

from __future__ import annotations

import ctypes
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from protoleak.bundle.bundle import Bundle
from protoleak.runtime.cuda.arrays import DeviceArray
from protoleak.runtime.cuda.noising import CudaNoising
from protoleak.runtime.engines import EngineOptions, Graph
from protoleak.runtime.engines.gpu import Gpu
from protoleak.runtime.engines.tensorrt import runtime as tensorrt_runtime
from protoleak.runtime.engines.tensorrt.library import load_library
from protoleak.runtime.executors import Graphs
from protoleak.runtime.executors.base import ExpectedShapes
from protoleak.runtime.executors.gpu import GpuExecutor
from protoleak.runtime.executors.gpu_opening import for_looks
from protoleak.runtime.noising import Noising
from tests.runtime.cuda.host_library import host_library
from tests.runtime.engines import played_tensorrt
from tests.runtime.engines.played_tensorrt import PlayedModule, PlayedWorker, view_of
from tests.tiny_bundle import IMAGE_SIZE, make_image

ENGINE = "tensorrt-rtx"
GPU = Gpu("NVIDIA GeForce RTX 4070", "8.9", 12 * 2**30, integrated=False)


class Owner:
    """Of memory that was allocated."""

    def __init__(self, memory: np.ndarray) -> None:
        self.memory = memory


class ExecutorWorker(PlayedWorker):
    """A CudaWorker on host memory that keeps what happens in `log`."""

    ordinal = 0

    def __init__(self, noising: Noising) -> None:
        super().__init__()
        self.noising = noising
        self.log: list[str] = []
        self.recording: list[Callable[[], None]] | None = None
        self.refuses_capture = False
        self.stream.create_graph_builder = lambda: PlayedBuilder(self)
        self.stream.wait = lambda _: self.log.append("wait")

    def enqueue(self, what: str, work: Callable[[], None]) -> None:
        if self.recording is None:
            self.log.append(what)
            work()
            return
        if self.refuses_capture:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.log.append(f"({what})")
        self.recording.append(lambda: (self.log.append(what), work())[0])

    def buffer(self, name: str, shape: Any, dtype: Any) -> DeviceArray:
        before = len(self.made)
        array = super().buffer(name, shape, dtype)
        if len(self.made) > before:
            self._host_only(f"make {name} {shape[0]}")
        return array

    def upload(self, values: np.ndarray) -> DeviceArray:
        array = super().buffer(f"constant {len(self.made)}", values.shape, values.dtype)
        view_of(array)[...] = values
        return array

    def allocate(self, shape: Any, dtype: Any) -> DeviceArray:
        """Memory of its own, which is 0xdd again when nobody looks at it any more: a late reader would see that."""
        self._host_only(f"allocate {shape[0]}")
        memory = aligned(np.zeros(shape, dtype))
        weakref.finalize(owner := Owner(memory), memory.fill, 0xDD)
        return DeviceArray(memory.ctypes.data, tuple(shape), memory.dtype, memory.strides, 0, owner=owner)

    def kernel(self, source: str, name: str) -> str:
        return f"{source}.{name}"

    def launch(self, kernel: str, grid: tuple[int, ...], threads: int, *given: Any, shared_bytes: int = 0) -> None:
        assert threads == 256
        assert shared_bytes <= 48 * 1024
        if kernel.startswith("crops."):
            self.enqueue(kernel.removeprefix("crops."), lambda: self._crop(kernel, *given))
        elif kernel.startswith("finite."):
            values, counts = given[:2]
            assert grid == (values.shape[0],)
            self.enqueue("check", lambda: self._count(values, counts))
        else:
            z0, z_t = given[0], given[5]
            self.enqueue("noising", lambda: self._noise(z0, z_t))

    def write(self, array: DeviceArray, values: np.ndarray) -> None:
        self._host_only("upload")
        super().write(array, values)

    def read(self, array: DeviceArray) -> np.ndarray:
        self._host_only("read")
        return super().read(array)

    def read_together(self, arrays: Mapping[str, DeviceArray]) -> dict[str, np.ndarray]:
        self._host_only("download")
        return {name: view_of(array).copy() for name, array in arrays.items()}

    def copy(self, source: DeviceArray, to: DeviceArray) -> None:
        self.enqueue("copy", lambda: view_of(to).__setitem__(..., view_of(source)))

    def take(self, name: str, array: Any) -> DeviceArray:
        from protoleak.runtime.cuda.arrays import device_array

        return device_array(name, array, self.stream)

    def enter_thread(self) -> None:
        pass

    def synchronize(self) -> None:
        assert self.recording is None

    def mark(self) -> float:
        self._host_only("mark")
        return float(len(self.log))

    def milliseconds_between(self, start: float, end: float) -> float:
        return end - start

    def timed(self, work: Callable[[], None], repeats: int) -> float:
        """Milliseconds by the processor's clock, of as many calls as were asked for but at most three."""
        started = time.perf_counter()
        for _ in range(count := min(repeats, 3)):
            work()
        return 1000 * (time.perf_counter() - started) / count

    def __enter__(self) -> ExecutorWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.log.append("close")

    def since(self, before: int) -> str:
        return " ".join(self.log[before:])

    def _host_only(self, what: str) -> None:
        assert self.recording is None, f"{what} in a capture"
        self.log.append(what)

    def _crop(self, kernel: str, *given: Any) -> None:
        values = [ctypes.c_void_p(one.pointer) if isinstance(one, DeviceArray) else one.item() for one in given]
        library = host_library("host_crops")
        if kernel == "crops.crop_weights":
            library.crop_weights(*values, given[0].shape[0])
        else:
            values[1] = ctypes.c_longlong(values[1])
            library.crop_rgb(*values, given[-1].shape[0])

    def _noise(self, z0: DeviceArray, z_t: DeviceArray) -> None:
        view_of(z_t)[...] = self.noising(view_of(z0).astype(np.float32))

    def _count(self, values: DeviceArray, counts: DeviceArray) -> None:
        broken = ~np.isfinite(view_of(values))
        view_of(counts)[...] = broken.reshape(len(broken), -1).sum(axis=1)


class PlayedBuilder:
    """cuda.core's GraphBuilder, and the graph that comes out of it."""

    def __init__(self, worker: ExecutorWorker) -> None:
        self.worker, self.recorded = worker, list[Callable[[], None]]()

    def begin_building(self, mode: str) -> PlayedBuilder:
        assert mode == "thread_local"
        self.worker.recording = self.recorded
        self.worker.log.append("capture")
        return self

    def end_building(self) -> PlayedBuilder:
        self.worker.recording = None
        return self

    def complete(self) -> PlayedBuilder:
        return self

    def launch(self, _: object) -> None:
        self.worker.log.append("launch")
        for work in self.recorded:
            work()

    def close(self) -> None:
        pass


def open_played_executor(
    monkeypatch: pytest.MonkeyPatch,
    bundle: Bundle,
    options: EngineOptions,
    encoder: bytes | None = None,
    graphs: Graphs | None = None,
) -> tuple[GpuExecutor, ExecutorWorker]:
    """A bundle on a played GPU.

    Args:
        encoder: another latent encoder.
        graphs: both graphs; None for those of the variant fp32.
    """
    noising = Noising.of(bundle.manifest, bundle.noise_bank)
    worker, *plans = open_played_engines(monkeypatch, bundle, options, encoder, graphs)
    shapes = ExpectedShapes(bundle.path, bundle.manifest)
    between = None if bundle.manifest.attributor_input == "z0" else CudaNoising(worker, noising)
    return GpuExecutor(worker, *plans, between, shapes, options), worker


def open_played_engines(
    monkeypatch: pytest.MonkeyPatch,
    bundle: Bundle,
    options: EngineOptions,
    encoder: bytes | None = None,
    graphs: Graphs | None = None,
) -> tuple[Any, tensorrt_runtime.TensorRtEngine, tensorrt_runtime.TensorRtEngine]:
    """What `open_worker_and_engines` opens, on a played GPU."""
    graphs = graphs or Graphs.of_variant(bundle.variant("fp32"))
    latent_encoder, attributor = graphs.latent_encoder, graphs.attributor
    if encoder is not None:
        latent_encoder = replace(latent_encoder, model=encoder)
    looks = len(bundle.manifest.preprocessing.looks)
    worker: Any = ExecutorWorker(Noising.of(bundle.manifest, bundle.noise_bank))
    return (
        worker,
        open_played_plan(monkeypatch, worker, "z0", latent_encoder, for_looks(options, looks)),
        open_played_plan(monkeypatch, worker, "outputs", attributor, options),
    )


def open_played_plan(
    monkeypatch: pytest.MonkeyPatch, worker: Any, name: str, graph: Graph, options: EngineOptions
) -> tensorrt_runtime.TensorRtEngine:
    """A plan whose runs are enqueued on the played worker under a name."""

    class EnqueuedContext(played_tensorrt.PlayedContext):
        def execute_async_v3(self, stream_handle: int) -> bool:
            then = played_tensorrt.PlayedContext(self._session, self._fails)
            then._shapes, then._addresses = dict(self._shapes), dict(self._addresses)
            worker.enqueue(name, lambda: then.execute_async_v3(stream_handle))
            return True

    class EnqueuedEngine(played_tensorrt.PlayedEngine):
        def create_execution_context(self) -> Any:
            worker.log.append(f"context of {name}")
            return EnqueuedContext(self._session, fails=False)

    with monkeypatch.context() as patch:
        patch.setattr(played_tensorrt, "PlayedEngine", EnqueuedEngine)
        patch.setattr(tensorrt_runtime, "find_gpu", lambda _: GPU)
        played = PlayedModule(graph, options.batch_maximum)
        library = replace(load_library(ENGINE), module=played)
        patch.setattr(tensorrt_runtime, "load_library", lambda _: library)
        return tensorrt_runtime.TensorRtEngine(ENGINE, graph, options, worker, captured=True)


def opened(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle, encoder: bytes | None = None, **options: Any
) -> tuple[GpuExecutor, ExecutorWorker]:
    return open_played_executor(monkeypatch, bundle, EngineOptions(batch_maximum=4, **options), encoder)


def make_images(count: int, first: int = 0) -> np.ndarray:
    return np.stack([make_image(seed % 3, first + seed, IMAGE_SIZE, IMAGE_SIZE) for seed in range(count)])


def aligned(images: np.ndarray, offset: int = 0) -> np.ndarray:
    """A copy that begins `offset` bytes behind a multiple of 256, as memory from a GPU's allocator does with 0."""
    raw = np.zeros(images.nbytes + 512, np.uint8)
    start = -raw.ctypes.data % 256 + offset
    view = raw[start : start + images.nbytes].reshape(images.shape)
    view[...] = images
    return view
