"""How much of the memory bandwidth do the kernels reach, beside a copy from device memory to device memory?

Bytes counted are those that must move: each input read once and the result written once. A copy moves each byte twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from benchmarks.gpu_checks.rows import Row, measured, not_measured
from benchmarks.gpu_checks.setup import Setup
from protoleak.errors import ProtoleakError
from protoleak.runtime.cuda.crops import CudaCrops
from protoleak.runtime.cuda.device import CudaWorker
from protoleak.runtime.cuda.finite import CudaFinite
from protoleak.runtime.cuda.graph import GraphPerBatchSize, Stage
from protoleak.runtime.cuda.noising import CudaNoising
from protoleak.runtime.noising import Noising

BANDWIDTH = "bandwidth of the kernels beside a copy"
FRAME = (1080, 1920, 3)
FACE = 400  # pixels: side of a face's square
REPEATS, RUNS = 50, 5
COPY = 256 * 2**20  # bytes; beyond the caches of every GPU


def bandwidth(setup: Setup) -> Iterator[Row]:
    """A row for a large copy, and for each kernel and batch size."""
    try:
        with setup.open_worker(setup.settings.device) as worker:
            peak = 2 * COPY / _copy_milliseconds(worker, COPY) / 1e6
            yield measured(BANDWIDTH, f"copy of {COPY // 2**20} MiB", {"GB/s": peak})
            for batch in setup.settings.batch_sizes:
                yield from _rows(setup, worker, batch)
    except ProtoleakError as error:
        yield not_measured(BANDWIDTH, "kernels", error, failed=True)


def _rows(setup: Setup, worker: CudaWorker, batch: int) -> Iterator[Row]:
    manifest, images = setup.bundle.manifest, batch * setup.looks
    on_gpu = CudaNoising(worker, Noising.of(manifest, setup.bundle.noise_bank))
    z0 = worker.buffer("z0", (images, *manifest.latent_shape), np.float32)
    worker.write(z0, np.zeros(z0.shape, np.float32))
    constants = 4 * on_gpu.timesteps * on_gpu.out_channels * on_gpu.height * on_gpu.width
    for written in (np.float32, np.float16):
        z_t = on_gpu.output(images, written)
        name = f"noising to {np.dtype(written).name}, batch {batch}"
        yield _row(worker, name, partial(on_gpu.enqueue, z0, z_t), z0.bytes + constants + z_t.bytes)
    finite = CudaFinite(worker)
    counts = finite.output(images)
    yield _row(worker, f"check of z0, batch {batch}", lambda: finite.enqueue(z0, counts), z0.bytes + counts.bytes)
    crops = CudaCrops(worker, manifest.preprocessing.image_size)
    frame = worker.buffer("frame", FRAME, np.uint8)
    worker.write(frame, np.zeros(FRAME, np.uint8))
    given, taps = crops.upload([(20 * i % 1000, 10 * i % 600, FACE, FACE) for i in range(batch)])
    looks = worker.allocate((batch, crops.size, crops.size, 3), np.uint8)
    moved = batch * 3 * FACE**2 + looks.bytes
    yield _row(worker, f"crops, batch {batch}", lambda: crops.enqueue(frame, given, taps, looks), moved)


def _row(worker: CudaWorker, what: str, work: Callable[[], None], moved: int) -> Row:
    milliseconds, copy = _best(worker, work), _copy_milliseconds(worker, max(moved // 2, 1))
    values = {
        "µs": 1000 * milliseconds,
        "MB moved": moved / 1e6,
        "GB/s": moved / milliseconds / 1e6,
        "of a copy's speed": copy / milliseconds,
    }
    return measured(BANDWIDTH, what, values)


def _best(worker: CudaWorker, work: Callable[[], None]) -> float:
    """The best of some runs, in milliseconds per call: what the memory allows, not what else the GPU did. In a CUDA
    graph of many calls: one call from Python takes ten times as long as a small kernel."""

    def many() -> None:
        for _ in range(REPEATS):
            work()

    work()  # what is loaded or allocated in the first call cannot be captured
    graph = GraphPerBatchSize(worker, [Stage("kernel", lambda _: many())])
    try:
        return min(worker.timed(lambda: graph.enqueue(1), 1) for _ in range(RUNS + 1)) / REPEATS
    finally:
        graph.close()


def _copy_milliseconds(worker: CudaWorker, size: int) -> float:
    """A copy of `size` bytes on the device, so that it moves as many bytes as a kernel of 2·size."""
    source, target = (worker.buffer(name, (size,), np.uint8) for name in ("copy from", "copy to"))
    return _best(worker, lambda: worker.copy(source, target))
