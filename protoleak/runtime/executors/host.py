"""Both graphs in engines that take and give host memory, with NumPy's noising between them where it isn't inside."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec
import numpy as np
import numpy.typing as npt

from protoleak.arrays import Array, Float32Array, UInt8Array
from protoleak.bundle.manifest import Manifest
from protoleak.errors import EngineError, MediaError
from protoleak.runtime.cuda.arrays import DeviceArray, GpuArray
from protoleak.runtime.engines import Engine, EngineDescription
from protoleak.runtime.engines.base import ONE_BY_ONE
from protoleak.runtime.executors.base import AttributorOutputs, ExpectedShapes, FrameToCrop, ImageOnGpu, describe_both
from protoleak.runtime.noising import Noising

CLOSED = "it is closed: open the bundle again to go on"


class HostExecutor:
    """Two engines, wherever they run, with NumPy's noising between them; an `Executor`.

    Images, z0 and z_t pass through host memory.

    Args:
        settings: what the record says on top of the engines' own settings.
    """

    def __init__(
        self,
        latent_encoder: Engine,
        attributor: Engine,
        noising: Noising,
        shapes: ExpectedShapes,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._engines: tuple[Engine, Engine] | None = (latent_encoder, attributor)
        self._noising, self._shapes = noising, shapes
        described = describe_both(latent_encoder.describe(), attributor.describe())
        self._one_by_one = latent_encoder.describe().settings.get("batch") == ONE_BY_ONE
        self._description = msgspec.structs.replace(described, settings=described.settings | dict(settings or {}))

    def run(self, images: UInt8Array | DeviceArray, *, stages: bool = False) -> AttributorOutputs:
        """See `Executor.run`."""
        assert isinstance(images, np.ndarray), "`take` gives nothing that is on a GPU"
        if self._engines is None:
            raise EngineError(CLOSED)
        latent_encoder, attributor = self._engines
        faces = self._shapes.faces_in(len(images))
        clock = [time.perf_counter()]
        z0 = self._encoded(latent_encoder, images)
        self._shapes.check_z0(z0.shape, len(images))
        clock.append(time.perf_counter())
        z0 = z0.astype(np.float32, copy=False)
        feed = attributor_feed(self._shapes.manifest, self._noising, z0)
        clock.append(time.perf_counter())
        outputs = attributor.run(feed)
        self._shapes.check_outputs({name: values.shape for name, values in outputs.items()}, faces)
        clock.append(time.perf_counter())
        spent = [1000 * (after - before) for before, after in pairwise(clock)]
        milliseconds = dict(zip(("latent_encoder", "noising", "attributor"), spent, strict=True))
        return AttributorOutputs(outputs, milliseconds, *((z0, feed.get("z_t")) if stages else ()))

    def _encoded(self, latent_encoder: Engine, images: UInt8Array) -> Array:
        """z0 of every image; where images go through the engine one by one, each of several equal ones is that of the
        first, to the bit."""
        places = first_places(images, self._shapes.looks) if self._one_by_one else None
        if places is None or (kept := np.unique(places)).size == len(images):
            return latent_encoder.run({"image": images})["z0"]
        return latent_encoder.run({"image": images[kept]})["z0"][np.searchsorted(kept, places)]

    def take(self, name: str, images: GpuArray) -> list[ImageOnGpu]:
        """Raises MediaError: nothing is taken from a GPU here."""
        raise MediaError(
            f"{name}: this {type(images).__name__} is on a GPU, and images for the engine {self._description.name} "
            "come from the processor's memory: give it as a NumPy array, or load with engine='tensorrt' or "
            "'tensorrt-rtx'"
        )

    def frame(self, frames: Sequence[FrameToCrop]) -> None:
        """See `Executor.frame`: framing is the processor's here."""

    def describe(self) -> EngineDescription:
        """See `Engine.describe`."""
        return self._description

    def close(self) -> None:
        """See `Executor.close`."""
        engines, self._engines = self._engines, None
        for engine in reversed(engines or ()):  # TensorRT's second plan uses the first one's stream
            engine.close()


def first_places(images: UInt8Array, looks: int) -> npt.NDArray[np.intp]:
    """For each image of uint8 [N·L, S, S, 3] the place of the first one that it equals, among the same looks at the
    faces right before it: faces of one image share the look that shows all of it."""
    places = np.arange(len(images))
    for place in range(looks, len(images)):
        image, before = images[place], images[place - looks]
        if np.array_equal(image[0], before[0]) and np.array_equal(image, before):
            places[place] = places[place - looks]
    return places


def attributor_feed(manifest: Manifest, noising: Noising, z0: Float32Array) -> dict[str, Float32Array]:
    """What the attributor of a bundle is run with, by its input's name, from z0 float32 [N·L, C, h, w]."""
    faces = len(z0) // len(manifest.preprocessing.looks)
    if manifest.attributor_input == "z0":
        return {"z0": z0.reshape(faces, *manifest.attributor_input_shape)}
    return {"z_t": across_looks(noising(z0), faces)}


def across_looks(z_t: Float32Array, faces: int) -> Float32Array:
    """float32 [N·L, T, C', h, w] → [N, L·T, C', h, w], a view: look by look, each with its timesteps."""
    return z_t.reshape(faces, -1, *z_t.shape[2:])
