"""Noising on the GPU: z0 → z_t of all timesteps in one kernel, straight into the second engine's input."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float32Array
from protoleak.errors import EngineUnavailable
from protoleak.runtime.cuda.arrays import DeviceArray, expect
from protoleak.runtime.cuda.device import CudaWorker
from protoleak.runtime.noising import Noising

THREADS = 256
SHARED_BYTES = 48 * 1024  # what every GPU gives a block without being asked
FLOATS = (np.float32, np.float16)


def projection_basis(projection: Float32Array) -> Float32Array:
    """An orthonormal basis B [size, k] of what a projection [size, size] projects on: projection = B·Bᵀ.

    The kernel multiplies with B because k is small. Any basis of the same space will do, so this one comes from the
    projection itself and there is no second place that knows how it was made.
    """
    values, vectors = np.linalg.eigh(projection.astype(np.float64))
    basis: Float32Array = vectors[:, values > 0.5].astype(np.float32)  # a projection's eigenvalues are 0 and 1
    if not np.allclose(basis @ basis.T, projection, atol=1e-5):
        raise ValueError(f"a matrix of shape {projection.shape} is no orthogonal projection")
    return basis


def vector_width(width: int, z0: npt.DTypeLike, z_t: npt.DTypeLike) -> int:
    """How many values a thread moves at once: 16 bytes of the narrower dtype, or 1 where rows don't divide by that."""
    values = 16 // min(np.dtype(z0).itemsize, np.dtype(z_t).itemsize)
    return values if width % values == 0 else 1


class CudaNoising:
    """One bundle's noising on one worker's stream; the same mathematics as `runtime.noising.Noising`.

    The channels without low-frequency half are equal to NumPy's float32 result to the last bit; the low-frequency half
    differs by float32 rounding of its sums.

    Args:
        worker: where it runs.
        noising: what is computed; its constants go to the GPU once, here.

    Raises:
        EngineUnavailable: a plane with its projection doesn't fit a block's shared memory.
    """

    def __init__(self, worker: CudaWorker, noising: Noising) -> None:
        self.worker = worker
        self.timesteps, self.out_channels, self.height, self.width = noising.noise_term.shape
        self.components = 0
        self._noise_term = worker.upload(np.ascontiguousarray(noising.noise_term, dtype=np.float32))
        self._factor = worker.upload(np.ascontiguousarray(noising.latent_factor, dtype=np.float32))
        self._basis = self._projection = self._factor  # never read where there is no low-frequency half
        self.channels = self.out_channels
        if noising.projections is not None:
            left, right = noising.projections
            basis = projection_basis(left)
            self.components = basis.shape[1]
            self.channels = self.out_channels // 2
            self._check_shared_memory()
            self._basis = worker.upload(basis)
            self._projection = worker.upload(np.ascontiguousarray(right.T))

    @property
    def shared_bytes(self) -> int:
        """Dynamic shared memory of a block."""
        return 4 * self.width * (self.height + 2 * self.components) if self.components else 0

    def output(self, batch_size: int, dtype: npt.DTypeLike = np.float32) -> DeviceArray:
        """The worker's z_t for a batch size: [N, T, C', h, w], made once."""
        shape = batch_size, self.timesteps, self.out_channels, self.height, self.width
        return self.worker.buffer("z_t", shape, dtype)

    def enqueue(self, z0: DeviceArray, z_t: DeviceArray) -> None:
        """Enqueues the kernel on the worker's stream. Neither allocates nor waits, so it can be captured in a graph.

        Args:
            z0: float32 or float16 [N, C, h, w].
            z_t: float32 or float16 [N, T, C', h, w]; written.

        Raises:
            DeviceArrayError: names the array and the property that doesn't fit.
        """
        plane = self.height, self.width
        expect("z0", z0, (None, self.channels, *plane), FLOATS, device=self.worker.ordinal)
        images = z0.shape[0]
        shape = images, self.timesteps, self.out_channels, *plane
        expect("z_t", z_t, shape, FLOATS, device=self.worker.ordinal, written=True)
        if not images:
            return
        aligned = z0.pointer % 16 == 0 and z_t.pointer % 16 == 0
        values = vector_width(self.width, z0.dtype, z_t.dtype) if aligned else 1
        name = f"noise_{z0.dtype.name}_{z_t.dtype.name}" + ("_wide" if values > 1 else "")
        per_plane = 1 if self.components else -(-self.height * self.width // (THREADS * values))
        sizes = (self.channels, self.height, self.width, self.timesteps, self.components)
        self.worker.launch(
            self.worker.kernel("noising", name),
            (images * self.channels, per_plane),
            THREADS,
            z0,
            self._noise_term,
            self._factor,
            self._basis,
            self._projection,
            z_t,
            *(np.int32(size) for size in sizes),
            shared_bytes=self.shared_bytes,
        )

    def _check_shared_memory(self) -> None:
        if self.shared_bytes > SHARED_BYTES:
            raise EngineUnavailable(
                f"latent planes of {self.height}×{self.width} with {self.components} low-frequency components need "
                f"{self.shared_bytes} bytes of shared memory, and {SHARED_BYTES} are there: use an engine that noises "
                "on the CPU"
            )
