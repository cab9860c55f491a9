"""What a benchmark gives: plain values, which are the JSON that it writes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from protoleak.environment.machine import Machine
from protoleak.metrics.report import Measures, Share

SCHEMA_VERSION = 1
# In the order in which an image goes through them. "upload" and "download" are there on a GPU alone, and so is "gpu":
# the whole executor there, where it is one CUDA graph whose parts cannot be timed.
STAGES = (
    *("decode", "preprocess", "upload", "latent_encoder", "noising", "attributor", "download", "gpu", "decision"),
)
ENGINE_STAGES = ("latent_encoder", "attributor", "gpu")


class Percentiles(msgspec.Struct, frozen=True):
    """Of one duration over the timed runs, in milliseconds."""

    p50: float
    p95: float
    p99: float
    mean: float
    minimum: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Percentiles:
        """Of at least one value, with linear interpolation; of fewer than 100 runs p99 is close to the slowest."""
        values = np.asarray(milliseconds, dtype=np.float64)
        p50, p95, p99 = (float(value) for value in np.percentile(values, (50, 95, 99)))
        return cls(p50, p95, p99, float(values.mean()), float(values.min()))


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long batches of one size took.

    Attributes:
        runs: timed batches.
        end_to_end: of one batch: encoded images in memory in, verdicts out.
        engines: of one batch: latent encoder and attributor alone; of an executor that is one CUDA graph the whole
            of it, with noising, upload and download.
        stages: median milliseconds per face of each of STAGES that there was. Of one CUDA graph they
            come from runs of their own, stage by stage without the graph. Decoding runs in threads of its own, ahead of
            the engines, so the stages of a batch may add up to more than the whole.
        per_face: median milliseconds per face, end to end.
        outside_engines: median milliseconds per face of the whole less the engines.
        faces_per_second: over all timed batches, one after the other.
        drift: median of the second half of the runs over that of the first; far from 1 where the machine was
            throttled or busy.
    """

    runs: int
    end_to_end: Percentiles
    engines: Percentiles
    stages: dict[str, float]
    per_face: float
    outside_engines: float
    faces_per_second: float
    drift: float


class Comparison(msgspec.Struct, frozen=True):
    """Eager PyTorch, timed in turns with the row that this stands in.

    Attributes:
        timing: of eager PyTorch.
        end_to_end_ratio, engines_ratio: its median over the row's: how many times faster the row is.
    """

    timing: Timing
    end_to_end_ratio: float
    engines_ratio: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One engine and variant at one batch size: a timing, or the error in its place.

    Attributes:
        compute: "exact", or "bf16" where OpenVINO may compute in it.
        device: in the engine's own words.
        settings: what else bears on the numbers, as in a verdict's record of the engine.
        peak_memory_mib: greatest resident memory of the whole process while the row was measured, with everything that
            it had loaded by then; not the GPU's memory. None where the system doesn't tell.
        model_bytes: both graphs of the variant.
    """

    engine: str
    variant: str
    compute: str
    batch: int
    error: str | None = None
    device: str | None = None
    settings: dict[str, str] = {}
    timing: Timing | None = None
    peak_memory_mib: float | None = None
    model_bytes: int | None = None
    baseline: Comparison | None = None

    @property
    def name(self) -> str:
        return configuration_name(self.engine, self.variant, self.compute)


class Accuracy(Measures, frozen=True, kw_only=True, omit_defaults=True):
    """How the verdicts of one engine and variant agree with the labels of a data set: the measures of an evaluation,
    without intervals over resamples.

    Attributes:
        right: images with the right verdict: of a generator that the bundle knows its own name, of another generator
            unknown, of a camera original real (by a bundle without a real class: unknown).
        known_right: the same of the known classes' images alone.
        reference: the first engine and variant that could be run; None for itself.
        same_as_reference: share of all images of which it says the same.
        unreadable: files without a verdict.
    """

    engine: str
    compute: str
    error: str | None = None
    right: Share | None = None
    known_right: Share | None = None
    reference: str | None = None
    same_as_reference: float | None = None
    unreadable: int = 0

    @property
    def name(self) -> str:
        return configuration_name(self.engine, self.variant, self.compute)


class BundleFacts(msgspec.Struct, frozen=True):
    """Which bundle was measured. `gates` holds, per variant, what its own report says of the gate, where it does."""

    name: str
    sha256: str
    gates: dict[str, bool]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one `protoleak bench` measured.

    Attributes:
        created: UTC, ISO 8601.
        images: which ones were timed.
        data: which ones were judged, or None.
        not_here: engines that cannot run on this machine, with the reason.
        notes: how to read the numbers.
    """

    schema_version: int
    created: str
    bundle: BundleFacts
    machine: Machine
    images: str
    data: str | None
    alpha: float
    warm_up: int
    not_here: dict[str, str]
    rows: list[Row]
    accuracy: list[Accuracy]
    notes: list[str]


def configuration_name(engine: str, variant: str, compute: str) -> str:
    """What tables call an engine with a variant, such as "openvino int8" or "openvino fp32 in bf16"."""
    return f"{engine} {variant}" + (f" in {compute}" if compute == "bf16" else "")
