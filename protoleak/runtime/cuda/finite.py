"""Whether a latent is finite, counted on the GPU in one number per image, so that the latent needn't leave it."""

from __future__ import annotations

import numpy as np

from protoleak.runtime.cuda.arrays import DeviceArray, expect
from protoleak.runtime.cuda.device import CudaWorker

THREADS = 256
FLOATS = (np.float32, np.float16)


class CudaFinite:
    """Counts values that are NaN or infinite.

    Args:
        worker: where it runs.
    """

    def __init__(self, worker: CudaWorker) -> None:
        self.worker = worker

    def output(self, batch_size: int) -> DeviceArray:
        """The worker's counts for a batch size: int32 [N], made once."""
        return self.worker.buffer("broken", (batch_size,), np.int32)

    def enqueue(self, values: DeviceArray, counts: DeviceArray) -> None:
        """Enqueues the kernel on the worker's stream. Neither allocates nor waits, so it can be captured in a graph.

        Args:
            values: float32 or float16 [N, ...].
            counts: int32 [N]; written.

        Raises:
            DeviceArrayError: names the array and the property that doesn't fit.
        """
        device = self.worker.ordinal
        expect("z0", values, (None,) * len(values.shape), FLOATS, device=device)
        images = values.shape[0]
        expect("counts", counts, (images,), (np.int32,), device=device, written=True)
        if not images:
            return
        size = int(np.prod(values.shape[1:]))
        kernel = self.worker.kernel("finite", f"count_broken_{values.dtype.name}")
        self.worker.launch(kernel, (images,), THREADS, values, counts, np.int32(size), shared_bytes=4 * THREADS)
