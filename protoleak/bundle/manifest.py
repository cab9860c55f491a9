"""manifest.json: what a bundle is, and hash and size of every file in it. `manifest_check` reads it."""

from __future__ import annotations

from typing import Any

import msgspec

from protoleak.arrays import Float32Array
from protoleak.choices import FACE_MARGIN, Arithmetic, AttributorInput, Look, Upright
from protoleak.diffusion import NoiseSchedule
from protoleak.images.framing import Framing

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"


class FileRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the manifest says of one file."""

    sha256: str
    size: int


class LowFrequency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The low-frequency half of the network's input: the `components` lowest DCT-II vectors of each axis."""

    components: int


class Preprocessing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How an image becomes the network's input; see `images.framing`. Images are turned upright as EXIF says, unless
    `upright` is "never": of a published checkpoint, which was trained on images as they lie in their files."""

    image_size: int = 256
    looks: tuple[Look, ...] = ("image",)
    face_margin: float = FACE_MARGIN
    upright: Upright = "auto"

    @property
    def framing(self) -> Framing:
        return Framing(self.looks, self.image_size, self.face_margin, self.upright == "auto")


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The noise schedule; `kind` is always "linear" in schema 1."""

    kind: str = "linear"
    beta_start: float = 0.00085
    beta_end: float = 0.012
    steps: int = 1000


class Density(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the open-set density was made; the density itself is inside attributor.onnx."""

    space: str  # "whitened", "gated", or "posterior", which has no kernel and no reference images
    bandwidth: float | None = None
    bandwidth_in_neighbour_distances: float | None = None
    reference_images: int = 0
    auxiliary_images: int = 0  # of auxiliary generators, that the density is contrasted with
    contrast: float = 0.0  # how much their log density counts


class Enrolled(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A generator that `protoleak enrol` added, and where it came from.

    Attributes:
        name: its class.
        created: ISO 8601, UTC.
        offset: added to its class score, so that it takes from the others no more than the limits allow.
        images: that it was made from.
        data_sha256: over the sorted SHA-256 of their files.
        skipped: one line per file that gave no image.
        protoleak: version that added it.
        accused: variant → share of camera originals that may be accused of it, at most, beside those that may be of
            others; see `enrolment.accusation`.
        measured: what it was measured to do before it was written, per variant; see `enrolment.report`.
    """

    name: str
    created: str
    offset: float
    images: int
    data_sha256: str
    skipped: list[str]
    protoleak: str
    accused: dict[str, float]
    measured: dict[str, Any]


class Recalibrated(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The images that `protoleak recalibrate` took the conformal lists from.

    Attributes:
        created: ISO 8601, UTC.
        images: class → how many of them, photographs among them as the class of camera originals.
        data_sha256: over the sorted SHA-256 of their files.
        skipped: one line per file that gave no image.
        protoleak: version that did it.
        measured: how far the lists before were from holding, per variant; see `enrolment.recalibrate`.
    """

    created: str
    images: dict[str, int]
    data_sha256: str
    skipped: list[str]
    protoleak: str
    measured: dict[str, Any]


class CalibratedCompute(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arithmetic of an engine in which a variant passed the gate, with conformal lists of its own.

    Attributes:
        variant: whose graphs.
        engine: what executes them.
        compute: what it may do with their types.
        milliseconds: for one face, where it was exported; compare it with the manifest's `speeds` of the same engine.
    """

    variant: str
    engine: str
    compute: Arithmetic
    milliseconds: float

    @property
    def folder(self) -> str:
        """Where its calibration.npz and report.json lie in the bundle."""
        return f"variants/{self.variant}/{self.engine}-{self.compute}"


class MeasuredOn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The processor that `speeds` and `computes` were measured on.

    Attributes:
        processor: its name.
        instructions: those that bear on the choice, see `environment.instructions`.
    """

    processor: str
    instructions: list[str]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """manifest.json. All fields are checked for type; unknown fields are refused.

    A field that came later has a default and isn't written where it has that, so that bundles which don't use it are
    read by every protoleak.
    """

    schema_version: int
    name: str
    created: str  # ISO 8601, UTC
    generators: list[str]
    real_class: str | None
    preprocessing: Preprocessing
    schedule: Schedule
    timesteps: list[int]
    noise_seed: int
    low_frequency: LowFrequency | None
    latent_shape: tuple[int, int, int]
    embedding_size: int
    prototypes_per_generator: int
    head: str
    density: Density
    provenance: dict[str, Any]
    variants: list[str]
    files: dict[str, FileRecord]
    speeds: dict[str, dict[str, float]] | None = None  # engine → variant → ms per image, where it was exported
    alpha: float = 0.05  # significance level that the bundle was measured at, and is used with unless another is given
    amplitudes: list[float] | None = None  # factor on the network's input at each timestep; None for 1, as published
    face_detector: str | None = None  # kind of the model in face_detector.onnx; "yunet" is the only one
    enrolled: list[Enrolled] = []  # the last of the generators, which are not in the graph
    recalibrated: Recalibrated | None = None  # None for the lists of the exporter's calibration images
    attributor_input: AttributorInput = "z_t"  # "z0" where the attributor takes its first operation above the noise
    computes: list[CalibratedCompute] = []  # beside what ONNX Runtime computes exactly, which `variants` are held to
    measured_on: MeasuredOn | None = None  # None in a bundle of before there were computes

    @property
    def generators_in_graph(self) -> int:
        """How many of the generators the graph itself scores: all but the enrolled ones, which stand behind them."""
        return len(self.generators) - len(self.enrolled)

    @property
    def changes(self) -> list[str]:
        """What was done to the bundle since it was exported and measured, in words; nothing of one as exported."""
        enrolled = [f"{one.name} was enrolled" for one in self.enrolled]
        return enrolled if self.recalibrated is None else [*enrolled, "it was recalibrated"]

    @property
    def noise_schedule(self) -> NoiseSchedule:
        return NoiseSchedule(self.schedule.beta_start, self.schedule.beta_end, self.schedule.steps)

    @property
    def positions(self) -> list[tuple[Look, int]]:
        """Look and timestep of each of the L·T inputs that the network's attention runs over, in their order."""
        return [(look, timestep) for look in self.preprocessing.looks for timestep in self.timesteps]

    @property
    def attributor_input_shape(self) -> tuple[int, ...]:
        """Of what the attributor takes, without the axis of the batch: [L·T, C', h, w] for z_t, [L, C, h, w] for z0."""
        channels, height, width = self.latent_shape
        if self.attributor_input == "z0":
            return len(self.preprocessing.looks), channels, height, width
        return len(self.positions), channels * (1 if self.low_frequency is None else 2), height, width

    def calibrated(self, variant: str, engine: str | None, compute: str) -> CalibratedCompute | None:
        """What a variant was calibrated in beside its own lists, or None."""
        asked = variant, engine, compute
        return next((one for one in self.computes if (one.variant, one.engine, one.compute) == asked), None)

    def coefficients(self) -> tuple[Float32Array, Float32Array]:
        """The factors of z0 and of ε in the network's input, amplitudes included: two float32 arrays of shape [T]."""
        return self.noise_schedule.coefficients(tuple(self.timesteps), self.amplitudes)
