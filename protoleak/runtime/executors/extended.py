"""An executor whose bundle has enrolled generators: what another executor gives, and their scores beside it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from protoleak.arrays import UInt8Array
from protoleak.bundle.enrolment import Additions
from protoleak.runtime.additions import extended_outputs, features_of
from protoleak.runtime.cuda.arrays import DeviceArray, GpuArray
from protoleak.runtime.engines import EngineDescription
from protoleak.runtime.executors.base import AttributorOutputs, Executor, FrameToCrop, ImageOnGpu


class ExtendedExecutor:
    """See `Executor`: the graphs run where they do without additions, which take a millisecond on the processor."""

    def __init__(self, executor: Executor, additions: Additions) -> None:
        self._executor = executor
        self._additions = additions

    def run(self, images: UInt8Array | DeviceArray, *, stages: bool = False) -> AttributorOutputs:
        """See `Executor.run`."""
        found = self._executor.run(images, stages=True)
        assert found.z0 is not None
        started = time.perf_counter()
        features = features_of(found.z0, found.outputs["embedding"], self._additions.statistics)
        outputs = extended_outputs(found.outputs, features, self._additions)
        milliseconds = found.milliseconds | {"enrolled": 1000 * (time.perf_counter() - started)}
        between = (found.z0, found.z_t) if stages else ()
        return AttributorOutputs(outputs, milliseconds, *between)

    def take(self, name: str, images: GpuArray) -> list[ImageOnGpu]:
        """See `Executor.take`."""
        return self._executor.take(name, images)

    def frame(self, frames: Sequence[FrameToCrop]) -> list[ImageOnGpu] | None:
        """See `Executor.frame`."""
        return self._executor.frame(frames)

    def describe(self) -> EngineDescription:
        """See `Executor.describe`."""
        return self._executor.describe()

    def close(self) -> None:
        """See `Executor.close`."""
        self._executor.close()
