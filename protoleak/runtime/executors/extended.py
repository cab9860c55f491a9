"""An executor whose bundle has enrolled generators: what another executor gives, and their scores beside it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from protoleak.arrays import UInt8Array
from protoleak.bundle.enrolment import Additions
from protoleak.runtime.additions import extended_outputs
from protoleak.runtime.cuda.arrays import DeviceArray, GpuArray
from protoleak.runtime.engines import EngineDescription
from protoleak.runtime.executors.base import AttributorOutputs, Executor, FrameToCrop, ImageOnGpu


class ExtendedExecutor:
    """See `Executor`: the graphs run where they do without additions; those take microseconds on the processor."""

    def __init__(self, executor: Executor, additions: Additions) -> None:
        self._executor = executor
        self._additions = additions

    def run(self, images: UInt8Array | DeviceArray, *, stages: bool = False) -> AttributorOutputs:
        """See `Executor.run`."""
        found = self._executor.run(images, stages=stages)
        started = time.perf_counter()
        outputs = extended_outputs(found.outputs, self._additions)
        spent = {"enrolled": 1000 * (time.perf_counter() - started)}
        return replace(found, outputs=outputs, milliseconds=found.milliseconds | spent)

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
