"""What a newcomer is told by: features of an image, how those of the named classes are distributed, and discriminants.

    class_statistics.npz   normal distributions of the named classes' features, one covariance in common; by `export`
    discriminant_<i>.npz   the discriminant of the i-th enrolled generator against the classes before it; by `enrol`

Features are the second-order statistics of the latents of each look (`latent_statistics`) and the embedding, in steps
of 1/STEPS of a standard deviation within classes, so that one takes a byte. An image that is judged is rounded as
those were that are recorded.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Array, Float32Array, Float64Array
from protoleak.bundle.npy import read_npz
from protoleak.errors import BundleError

CLASS_STATISTICS = "class_statistics.npz"
IMAGES = "pictures"  # what the file calls `ClassStatistics.images`
STEPS = 12  # of a byte, to a standard deviation: what lies further than 10.6 of them is as far as that
SOFTNESS = 20.0  # of the least log-likelihood ratio, in nats: rivals that are nearly as near count too

FeatureArray = npt.NDArray[np.int8]


def discriminant_file(index: int) -> str:
    """The discriminant of an enrolled generator.

    Args:
        index: among the enrolled generators.
    """
    return f"discriminant_{index}.npz"


@dataclass(frozen=True)
class ClassStatistics:
    """Normal distributions of J features, in standard deviations within classes, one for each of K named classes.

    The covariance within classes is that of the factors, and of what they leave out the same in every direction.

    Attributes:
        mean, deviation: float32 [J], of a feature before it is standardised: over all classes, and within them.
        class_means: float16 [K, J].
        directions: int8 [R, J], and scales: float32 [R], whose products are F: Fᵀ F is what R directions hold of the
            covariance.
        remainder: variance in each direction besides.
        images: that it was fitted to.
    """

    mean: Float32Array
    deviation: Float32Array
    class_means: npt.NDArray[np.float16]
    directions: npt.NDArray[np.int8]
    scales: Float32Array
    remainder: float
    images: int

    @classmethod
    def of(
        cls,
        mean: Float32Array,
        deviation: Float32Array,
        class_means: Float64Array,
        factors: Float64Array,
        remainder: float,
        images: int,
    ) -> ClassStatistics:
        """With the factors F [R, J] rounded to a byte each, 127 for the largest magnitude of a row."""
        scales = np.abs(factors).max(axis=1, initial=0.0) / 127
        directions = np.rint(factors / np.maximum(scales, np.finfo(np.float32).tiny)[:, None]).astype(np.int8)
        means = class_means.astype(np.float16)
        return cls(mean, deviation, means, directions, scales.astype(np.float32), remainder, images)

    @property
    def factors(self) -> Float64Array:
        """F, float64 [R, J]."""
        return self.directions.astype(np.float64) * self.scales[:, None].astype(np.float64)

    def features(self, statistics: Float32Array, embedding: npt.NDArray[np.floating]) -> FeatureArray:
        """int8 [n, J] of statistics [n, L·F] and embeddings [n, D]; L·F + D = J."""
        values = np.concatenate([statistics, embedding.astype(np.float32)], axis=1)
        steps = np.rint((values - self.mean) / self.deviation * STEPS)
        return np.asarray(np.clip(steps, -127, 127), np.int8)

    def to_bytes(self) -> bytes:
        """The .npz form (no pickle)."""
        fields = dict(vars(self))
        scalars = {"remainder": np.float64(fields.pop("remainder")), IMAGES: np.int64(fields.pop("images"))}
        return _packed(fields | scalars)

    @classmethod
    def from_bytes(cls, data: bytes, where: str, classes: int) -> ClassStatistics:
        """Reads the .npz form.

        Args:
            classes: K.

        Raises:
            BundleError: it is not such a file, or its arrays do not fit one another.
        """
        arrays = read_npz(data, where)
        size, rank = _length(arrays.get("mean")), _length(arrays.get("scales"))
        check_array(arrays.get("mean"), "mean", np.float32, (size,), where)
        check_array(arrays.get("deviation"), "deviation", np.float32, (size,), where)
        check_array(arrays.get("class_means"), "class_means", np.float16, (classes, size), where)
        check_array(arrays.get("directions"), "directions", np.int8, (rank, size), where)
        check_array(arrays.get("scales"), "scales", np.float32, (rank,), where)
        check_array(arrays.get("remainder"), "remainder", np.float64, (), where)
        check_array(arrays.get(IMAGES), IMAGES, np.int64, (), where)
        if not (arrays["deviation"] > 0).all() or not arrays["remainder"] > 0 or not arrays[IMAGES] > 0:
            raise BundleError(f"{where}: a deviation, the remainder or the number of images is not positive")
        return cls(
            mean=arrays["mean"],
            deviation=arrays["deviation"],
            class_means=arrays["class_means"],
            directions=arrays["directions"],
            scales=arrays["scales"],
            remainder=float(arrays["remainder"]),
            images=int(arrays[IMAGES]),
        )


@dataclass(frozen=True)
class Discriminant:
    """How the log odds of an enrolled generator follow from features.

    Attributes:
        mean: float32 [J], of the generator's features, in standard deviations.
        weights: float32 [R, J], and bias: float32 [R]: the log-likelihood ratio against each of R rivals.
        rivals: int32 [R], the classes that those are.
        scale: of the log odds: a normal model of thousands of features is far too sure of itself.
    """

    mean: Float32Array
    weights: Float32Array
    bias: Float32Array
    rivals: npt.NDArray[np.int32]
    scale: float

    def log_odds(self, features: FeatureArray) -> Float64Array:
        """Of this generator against its rivals, float64 [n], of features [n, J]; up to an offset."""
        points = features.astype(np.float64) / STEPS
        # Not a matrix product, whose sums depend on the number of images.
        sums = np.stack([(points * weights).sum(axis=1) for weights in self.weights], axis=1)
        return self.scale * softened_minimum(sums - self.bias.astype(np.float64))

    def without(self, gone: int) -> Discriminant:
        """Once a class is gone: not among the rivals any more, and the classes behind it moved up."""
        kept = self.rivals != gone
        rivals = self.rivals[kept]
        moved = (rivals - (rivals > gone)).astype(np.int32)
        return Discriminant(self.mean, self.weights[kept], self.bias[kept], moved, self.scale)

    def to_bytes(self) -> bytes:
        """The .npz form (no pickle)."""
        return _packed(vars(self) | {"scale": np.float64(self.scale)})

    @classmethod
    def from_bytes(cls, data: bytes, where: str, features: int, before: int) -> Discriminant:
        """Reads the .npz form.

        Args:
            features: J.
            before: how many classes stand before the generator.

        Raises:
            BundleError: it is not such a file, or its arrays do not fit one another.
        """
        arrays = read_npz(data, where)
        rivals = _length(arrays.get("rivals"))
        check_array(arrays.get("mean"), "mean", np.float32, (features,), where)
        check_array(arrays.get("weights"), "weights", np.float32, (rivals, features), where)
        check_array(arrays.get("bias"), "bias", np.float32, (rivals,), where)
        check_array(arrays.get("rivals"), "rivals", np.int32, (rivals,), where)
        check_array(arrays.get("scale"), "scale", np.float64, (), where)
        if not rivals or not 0 <= arrays["rivals"].min() <= arrays["rivals"].max() < before:
            raise BundleError(f"{where}: the rivals {arrays['rivals'].tolist()} are no classes before it")
        if not arrays["scale"] > 0:
            raise BundleError(f"{where}: the scale {arrays['scale']} is not a positive number")
        lists = {name: arrays[name] for name in ("mean", "weights", "bias", "rivals")}
        return cls(**lists, scale=float(arrays["scale"]))


def softened_minimum(ratios: Float64Array) -> Float64Array:
    """−SOFTNESS · log Σ_r exp(−x_r/SOFTNESS): float64 [n] of [n, R]."""
    return np.asarray(-SOFTNESS * np.logaddexp.reduce(-ratios / SOFTNESS, axis=1))


def check_array(found: Array | None, name: str, kind: type, shape: tuple[int, ...], where: str) -> None:
    """Raises BundleError where an array is missing, of another type or shape, or not finite."""
    if found is None or found.dtype != kind or found.shape != shape or not np.isfinite(found).all():
        raise BundleError(f"{where}: {name!r} is not the finite {np.dtype(kind)} {list(shape)} that is needed")


def _length(array: Array | None) -> int:
    return -1 if array is None or array.ndim == 0 else len(array)


def _packed(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
