"""Both graphs and the noising on the GPU: images go up, the attributor's outputs come down, and nothing else leaves it.

    image ─► latent encoder ─ z0 ─► check ─► noising ─ z_t ─► attributor ─► outputs

An attributor that takes z0, its first operation above the noise, reads it where the latent encoder wrote it.

All on one stream, with TensorRT in one CUDA graph per batch size.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

import msgspec
import numpy as np

from protoleak.arrays import Array, UInt8Array
from protoleak.errors import EngineError, ProtoleakError
from protoleak.runtime.cuda.arrays import DeviceArray, GpuArray, packed_strides
from protoleak.runtime.cuda.crops import CudaCrops
from protoleak.runtime.cuda.device import CudaWorker
from protoleak.runtime.cuda.finite import CudaFinite
from protoleak.runtime.cuda.graph import CaptureRefused, GraphPerBatchSize, Stage
from protoleak.runtime.cuda.noising import CudaNoising
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.engines.base import EngineDescription, check_finite, not_finite
from protoleak.runtime.engines.failures import explain
from protoleak.runtime.engines.on_stream import StreamEngine
from protoleak.runtime.executors.base import (
    AttributorOutputs,
    ExpectedShapes,
    FrameToCrop,
    ImageOnGpu,
    describe_both,
)
from protoleak.runtime.executors.gpu_images import frame_images, rows, take_images, was_framed
from protoleak.runtime.executors.host import CLOSED

IMAGE, Z0, Z_T = "image", "z0", "z_t"
BROKEN = "broken values of z0"
ALIGNMENT = 256  # bytes; what cudaMalloc gives, so what every plan is tuned and tested with
CAPTURED = "one per batch size, from its second run"


@dataclass(frozen=True)
class _Memory:
    """Everything of one batch size, made once."""

    image: DeviceArray
    z0: DeviceArray
    broken: DeviceArray
    z_t: DeviceArray | None  # None where the attributor takes z0
    outputs: dict[str, DeviceArray]


class GpuExecutor:
    """Both engines on one stream with the noising kernel between them; an `Executor`.

    One call at a time runs; others wait. Images on the host are uploaded from pinned memory. Images of a caller's on
    the GPU are read where they lie, and copied on the GPU only where they don't begin at a multiple of 256 bytes, which
    TensorRT isn't known to take.

    Args:
        noising: None where the attributor takes z0.
        options: `cuda_graph`, `stage_times` and `notify` are used.
    """

    def __init__(
        self,
        worker: CudaWorker,
        latent_encoder: StreamEngine,
        attributor: StreamEngine,
        noising: CudaNoising | None,
        shapes: ExpectedShapes,
        options: EngineOptions,
    ) -> None:
        self.worker = worker
        self._looks = shapes.looks
        self.batch_maximum = min(latent_encoder.batch_maximum // self._looks, attributor.batch_maximum)
        self._latent_encoder, self._attributor = latent_encoder, attributor
        self._noising, self._finite = noising, CudaFinite(worker)
        self._shapes, self._notify, self._timed = shapes, options.notify, options.stage_times
        self._crops = CudaCrops(worker, shapes.manifest.preprocessing.image_size)
        self._lock, self._closed = threading.Lock(), False
        self._memory: dict[int, _Memory] = {}
        self._image: DeviceArray | None = None  # where the latent encoder reads, set before each run
        self._stages = (
            Stage("latent encoder", self._enqueue_latent_encoder),
            Stage("noising", self._enqueue_noising),
            Stage("attributor", self._enqueue_attributor),
        )
        obstacle = _obstacle_to_graphs(options, latent_encoder.capturable and attributor.capturable)
        self._graph = GraphPerBatchSize(worker, self._stages, enabled=obstacle is None)
        state = CAPTURED if obstacle is None else f"no: {obstacle}"
        where = "in the attributor" if noising is None else "on the GPU"
        described = describe_both(latent_encoder.describe(), attributor.describe())
        self._description = msgspec.structs.replace(
            described,
            settings=described.settings | {"noising": where, "framing": "of videos on the GPU", "cuda_graph": state},
        )

    @property
    def captured(self) -> tuple[int, ...]:
        """The batch sizes that have a graph; one may occur again for another place of the input."""
        return self._graph.captured

    def run(self, images: UInt8Array | DeviceArray, *, stages: bool = False) -> AttributorOutputs:
        """See `Executor.run`. Batches larger than the engines' are run in parts.

        The times are the GPU's for each stage with `stage_times`, uploading and downloading among them; otherwise there
        is one, "gpu", from the host's clock.
        """
        with self._lock:
            if self._closed:
                raise EngineError(CLOSED)
            self.worker.enter_thread()
            looks, faces = self._looks, self._shapes.faces_in(images.shape[0])
            parts = [
                self._run_part(_part(images, looks * first, looks * min(first + self.batch_maximum, faces)), stages)
                for first in range(0, faces, self.batch_maximum)
            ]
        outputs = {name: np.concatenate([part[name] for part, _ in parts]) for name in parts[0][0]}
        between = {name: outputs.pop(name).astype(np.float32, copy=False) for name in (Z0, Z_T) if name in outputs}
        check_finite("attributor", outputs)
        spent = {stage: sum(times[stage] for _, times in parts) for stage in parts[0][1]}
        return AttributorOutputs(outputs, spent, between.get(Z0), between.get(Z_T))

    def take(self, name: str, images: GpuArray) -> list[ImageOnGpu]:
        """See `Executor.take`. Waits for the images, since their pixels are downloaded for the verdict's SHA-256."""
        with self._lock:
            self.worker.enter_thread()
            return take_images(self.worker, name, images, self._shapes)

    def frame(self, frames: Sequence[FrameToCrop]) -> list[ImageOnGpu]:
        """See `Executor.frame`. Waits for the crops, since their pixels are downloaded for the verdicts' SHA-256.

        The memory that frames are uploaded through is kept for each size that occurs: a source has one.
        """
        with self._lock:
            if self._closed:
                raise EngineError(CLOSED)
            self.worker.enter_thread()
            try:
                return frame_images(self.worker, self._crops, frames, self._shapes)
            except ProtoleakError:
                raise
            except Exception as error:  # cuda.core's own classes
                raise explain(error, "framing on the GPU", self._description.name) from error

    def describe(self) -> EngineDescription:
        """See `Engine.describe`. `settings["cuda_graph"]` says whether graphs are captured; if not, why."""
        return self._description

    def close(self) -> None:
        """See `Executor.close`: the graphs are destroyed, and both engines, before the stream that they use."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self.worker.enter_thread()
            self._graph.close()
            self._memory.clear()
            self._latent_encoder.release()
            self._attributor.release()
            self.worker.close()

    def _run_part(self, images: UInt8Array | DeviceArray, stages: bool) -> tuple[dict[str, Array], dict[str, float]]:
        """The outputs, with z0 and z_t among them for `stages`, and the times of the stages."""
        batch = images.shape[0] // self._looks
        memory = self._memory_of(batch)
        started = time.perf_counter()
        try:
            marks = [self.worker.mark()] if self._timed else []
            self._image = self._placed(images, memory)
            if self._timed:
                marks.append(self.worker.mark())
                for stage in self._stages:
                    stage.enqueue(batch)
                    marks.append(self.worker.mark())
            else:
                self._enqueue(batch, self._image.pointer)
            between = {Z0: memory.z0} | ({} if memory.z_t is None else {Z_T: memory.z_t})
            wanted = {**memory.outputs, BROKEN: memory.broken} | (between if stages else {})
            outputs = self.worker.read_together(wanted)
        except ProtoleakError:
            raise
        except Exception as error:  # cuda.core's and pybind11's own classes
            raise explain(error, "executor on the GPU", self._description.name) from error
        finally:
            self._image = None  # the caller's memory is the caller's again
        broken = int(outputs.pop(BROKEN).sum())
        if broken:
            raise not_finite("latent encoder", Z0, broken, prod(memory.z0.shape))
        if not self._timed:
            return outputs, {"gpu": 1000 * (time.perf_counter() - started)}
        marks.append(self.worker.mark())
        names = ("upload", "latent_encoder", "noising", "attributor", "download")
        spent = [self.worker.milliseconds_between(*pair) for pair in pairwise(marks)]
        return outputs, dict(zip(names, spent, strict=True))

    def _enqueue(self, batch: int, address: int) -> None:
        try:
            self._graph.enqueue(batch, address)
        except CaptureRefused as error:
            self._graph.enabled = False
            settings = self._description.settings | {"cuda_graph": f"no: {error}"}
            self._description = msgspec.structs.replace(self._description, settings=settings)
            self._notify(f"no CUDA graph from here on, which is slower: {error}")
            self._graph.enqueue(batch, address)

    def _placed(self, images: UInt8Array | DeviceArray, memory: _Memory) -> DeviceArray:
        """The images where the latent encoder can read them."""
        if isinstance(images, DeviceArray):
            # What was framed here lies at ever new addresses, each of which would need a graph of its own.
            if images.pointer % ALIGNMENT == 0 and not was_framed(images):
                return images
            self.worker.copy(images, memory.image)
        elif images.dtype != memory.image.dtype or images.shape != memory.image.shape:
            raise EngineError(
                f"the latent encoder takes {memory.image.dtype} {list(memory.image.shape)}, not {images.dtype} "
                f"{list(images.shape)}"
            )
        else:
            self.worker.write(memory.image, images)
        return memory.image

    def _memory_of(self, batch: int) -> _Memory:
        if batch not in self._memory:
            images = batch * self._looks
            encoder, attributor = self._latent_encoder.buffers(images), self._attributor.buffers(batch)
            self._shapes.check_z0(encoder[Z0].shape, images)
            outputs = {name: array for name, array in attributor.items() if name not in (Z0, Z_T)}
            self._shapes.check_outputs({name: array.shape for name, array in outputs.items()}, batch)
            self._memory[batch] = _Memory(
                encoder[IMAGE], encoder[Z0], self._finite.output(images), attributor.get(Z_T), outputs
            )
        return self._memory[batch]

    def _enqueue_latent_encoder(self, batch: int) -> None:
        assert self._image is not None
        self._latent_encoder.enqueue(batch * self._looks, {IMAGE: self._image})

    def _enqueue_noising(self, batch: int) -> None:
        memory = self._memory[batch]
        self._finite.enqueue(memory.z0, memory.broken)
        if self._noising is not None and memory.z_t is not None:
            self._noising.enqueue(memory.z0, _by_look(memory.z_t, self._looks))

    def _enqueue_attributor(self, batch: int) -> None:
        # [N·L, C, h, w] is [N, L, C, h, w] in memory.
        bound = {Z0: self._memory[batch].z0} if self._noising is None else None
        self._attributor.enqueue(batch, bound)


def _obstacle_to_graphs(options: EngineOptions, capturable: bool) -> str | None:
    if not capturable:
        return "ONNX Runtime's runs cannot be captured safely"
    if options.stage_times:
        return "stages are timed"
    return None if options.cuda_graph else "switched off"


def _part(images: UInt8Array | DeviceArray, first: int, last: int) -> UInt8Array | DeviceArray:
    return images[first:last] if isinstance(images, np.ndarray) else rows(images, first, last)


def _by_look(z_t: DeviceArray, looks: int) -> DeviceArray:
    """[N, L·T, C', h, w] as [N·L, T, C', h, w], where it is: the noising knows of no looks."""
    shape = (z_t.shape[0] * looks, z_t.shape[1] // looks, *z_t.shape[2:])
    return replace(z_t, shape=shape, strides=packed_strides(shape, z_t.dtype))
