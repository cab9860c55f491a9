"""What tells generators apart that a bundle doesn't know: the whitening of its latents' statistics.

    traces.npz    mean, spread within classes and whitening of the statistics of each look; written by `export`

The statistics (`latent_statistics`) vary most with scenes and cameras, and least where generators differ. Divided by
how far they spread *within* the classes of the training, in every direction, both count alike; an unknown generator's
pictures then lie together (docs/decisions/0034-discovery.md).
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float32Array
from protoleak.bundle.npy import read_npz
from protoleak.errors import BundleError

TRACES = "traces.npz"
LARGEST_STATISTIC = 10.0  # standard deviations: what lies beyond says "unusual" as loudly as it should


@dataclass(frozen=True)
class TraceSpace:
    """The whitening of each of L looks, of F statistics, with m directions in which it isn't the same everywhere.

    Attributes:
        mean, inverse_deviation: float32 [L, F]: by which statistics are standardised.
        directions: float16 [L, F, m], orthonormal.
        stretch: float32 [L, m], of each direction.
        rest: float32 [L], of all that is orthogonal to them.
    """

    mean: Float32Array
    inverse_deviation: Float32Array
    directions: npt.NDArray[np.float16]
    stretch: Float32Array
    rest: Float32Array

    def __call__(self, statistics: Float32Array) -> Float32Array:
        """Statistics float32 [n, L·F] → the traces, of the same shape."""
        statistics = statistics.reshape(len(statistics), *self.mean.shape)
        standardised = np.clip((statistics - self.mean) * self.inverse_deviation, -LARGEST_STATISTIC, LARGEST_STATISTIC)
        looks = []
        for look, directions in enumerate(self.directions.astype(np.float32)):
            along = (standardised[:, look] @ directions) * (self.stretch[look] - self.rest[look])
            looks.append(self.rest[look] * standardised[:, look] + along @ directions.T)
        return np.concatenate(looks, axis=1).astype(np.float32)

    def to_bytes(self) -> bytes:
        """The .npz form (no pickle)."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **vars(self))
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, where: str, looks: int, features: int) -> TraceSpace:
        """Reads the .npz form.

        Args:
            looks: L.
            features: F.

        Raises:
            BundleError: it is not such a file, or its arrays do not fit one another.
        """
        arrays = read_npz(data, where)
        count = arrays["stretch"].shape[-1] if arrays.get("stretch", np.zeros(())).ndim == 2 else -1
        shapes: dict[str, tuple[type, tuple[int, ...]]] = {
            "mean": (np.float32, (looks, features)),
            "inverse_deviation": (np.float32, (looks, features)),
            "directions": (np.float16, (looks, features, count)),
            "stretch": (np.float32, (looks, count)),
            "rest": (np.float32, (looks,)),
        }
        for name, (kind, shape) in shapes.items():
            found = arrays.get(name)
            if found is None or found.dtype != kind or found.shape != shape or not np.isfinite(found).all():
                raise BundleError(f"{where}: {name!r} is not the finite {np.dtype(kind)} {list(shape)} that is needed")
        return cls(**{name: arrays[name] for name in shapes})
