"""manifest.json: what a bundle is, and hash and size of every file in it. Everything is checked when it is parsed."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import msgspec

from protoleak.arrays import Float32Array
from protoleak.choices import FACE_MARGIN, Arithmetic, AttributorInput, Look, Upright
from protoleak.diffusion import NoiseSchedule
from protoleak.errors import BundleError, shortened
from protoleak.images.framing import Framing
from protoleak.strict_json import decode_json

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
MAXIMUM_TOTAL_BYTES = 512 * 2**20  # all of it is held in memory; three variants of an SD 2.1 encoder are 300 MB
MAXIMUM_GENERATORS = 10_000
MAXIMUM_TIMESTEPS = 1000
MAXIMUM_STEPS = 100_000  # of the noise schedule
MAXIMUM_FEATURES = 65_536  # of an embedding, and prototypes of a generator
MAXIMUM_LATENT = 2**24  # elements of one latent
MAXIMUM_FILES = 1000
MAXIMUM_VARIANTS = 16
MAXIMUM_COMPUTES = 100
SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")


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
        pictures: that it was made from.
        data_sha256: over the sorted SHA-256 of their files.
        skipped: one line per file that gave no picture.
        protoleak: version that added it.
        measured: what it was measured to do before it was written, per variant; see `enrolment.report`.
    """

    name: str
    created: str
    offset: float
    pictures: int
    data_sha256: str
    skipped: list[str]
    protoleak: str
    measured: dict[str, Any]


class Recalibrated(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The pictures that `protoleak recalibrate` took the conformal lists from.

    Attributes:
        created: ISO 8601, UTC.
        pictures: class → how many of them, photographs among them as the class of camera originals.
        data_sha256: over the sorted SHA-256 of their files.
        skipped: one line per file that gave no picture.
        protoleak: version that did it.
        measured: how far the lists before were from holding, per variant; see `enrolment.recalibrate`.
    """

    created: str
    pictures: dict[str, int]
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


def parse_manifest(raw: bytes, location: Path) -> Manifest:
    """Decodes and checks a manifest.

    Args:
        raw: the bytes of manifest.json.
        location: of the bundle, for messages.

    Raises:
        BundleError: it is no manifest, of another schema, or its fields contradict each other.
    """
    where = f"{location}/{MANIFEST}"
    try:
        version = decode_json(raw, _SchemaOnly).schema_version
    except msgspec.DecodeError as error:
        raise BundleError(f"{where} is not a bundle's manifest: {error}") from error
    if version != SCHEMA_VERSION:
        newer = "upgrade protoleak" if version > SCHEMA_VERSION else "export the bundle again"
        raise BundleError(f"{where} has schema version {version}, this protoleak reads {SCHEMA_VERSION}: {newer}")
    try:
        manifest = decode_json(raw, Manifest)
    except msgspec.DecodeError as error:
        raise BundleError(f"{where} is not a valid manifest: {error}") from error
    _check_manifest(manifest, where)
    return manifest


class _SchemaOnly(msgspec.Struct):
    schema_version: int


def _check_manifest(manifest: Manifest, where: str) -> None:
    """The cross-field rules that types cannot say."""
    _refuse_unless(_rules_of_size(manifest), where)  # before anything is computed from these numbers
    names = manifest.generators
    try:
        schedule_fits = bool(manifest.noise_schedule.coefficients(tuple(manifest.timesteps)))
    except ValueError:
        schedule_fits = False
    total = sum(record.size for record in manifest.files.values())
    rules: list[tuple[bool, str]] = [
        (len(set(names)) == len(names), "two generators share a name"),
        (
            [one.name for one in manifest.enrolled] == names[manifest.generators_in_graph :],
            "the enrolled generators are not the last of the generators",
        ),
        (all(math.isfinite(one.offset) for one in manifest.enrolled), "an enrolled generator's offset is not finite"),
        (
            manifest.real_class is None or manifest.real_class in names,
            f"{manifest.real_class!r} is no generator",
        ),
        (manifest.schedule.kind == "linear", f"schedule {manifest.schedule.kind!r}: only 'linear' is known"),
        (bool(schedule_fits), f"timesteps {manifest.timesteps} do not fit the schedule"),
        (
            manifest.amplitudes is None
            or (
                len(manifest.amplitudes) == len(manifest.timesteps)
                and all(0 < one < 1e6 for one in manifest.amplitudes)
            ),
            f"amplitudes {manifest.amplitudes} for {len(manifest.timesteps)} timesteps",
        ),
        (
            0 < len(manifest.preprocessing.looks) == len(set(manifest.preprocessing.looks)),
            f"looks {list(manifest.preprocessing.looks)}: at least one, each once",
        ),
        (0 <= manifest.preprocessing.face_margin <= 4, f"face margin {manifest.preprocessing.face_margin}"),
        (
            manifest.low_frequency is None or 1 <= manifest.low_frequency.components <= min(manifest.latent_shape[1:]),
            f"{manifest.low_frequency} for latents of {manifest.latent_shape}",
        ),
        (
            all(set(of) <= set(manifest.variants) for of in (manifest.speeds or {}).values()),
            f"speeds of other variants than {manifest.variants}",
        ),
        (
            all(one.variant in manifest.variants and 0 < one.milliseconds < math.inf for one in manifest.computes),
            "a compute of no variant, or without a time",
        ),
        (
            all(re.fullmatch(r"[a-z0-9-]+", one.engine) for one in manifest.computes)
            and len({one.folder for one in manifest.computes}) == len(manifest.computes),
            "computes of no engine, or one of them twice",
        ),
        (manifest.face_detector in (None, "yunet"), f"face detector {manifest.face_detector!r}: only 'yunet' is known"),
        (0 < manifest.alpha < 1, f"alpha {manifest.alpha:g} lies outside 0 to 1"),
        (bool(manifest.variants), "no variant"),
        (len(set(manifest.variants)) == len(manifest.variants), f"variants {manifest.variants}: one occurs twice"),
        (
            all(re.fullmatch(r"[a-z0-9_]+", name) for name in manifest.variants),
            f"variants {manifest.variants}",
        ),
        (all(record.size >= 0 for record in manifest.files.values()), "a negative file size"),
        (total <= MAXIMUM_TOTAL_BYTES, f"{total} bytes declared, more than {MAXIMUM_TOTAL_BYTES}: refused"),
        (
            all(SHA256_PATTERN.fullmatch(record.sha256) for record in manifest.files.values()),
            "a malformed SHA-256",
        ),
    ]
    _refuse_unless(rules, where)


def _rules_of_size(manifest: Manifest) -> list[tuple[bool, str]]:
    """Bounds on what sizes are computed from."""
    generators, steps = len(manifest.generators), manifest.schedule.steps
    in_graph = manifest.generators_in_graph
    features, prototypes = manifest.embedding_size, manifest.prototypes_per_generator
    beta = (manifest.schedule.beta_start, manifest.schedule.beta_end)
    return [
        (2 <= generators <= MAXIMUM_GENERATORS, f"{generators} generators: at least two are needed"),
        (in_graph >= 2, f"{in_graph} generators in the graph: at least two are needed"),
        (1 <= len(manifest.timesteps) <= MAXIMUM_TIMESTEPS, f"{len(manifest.timesteps)} timesteps"),
        (1 <= steps <= MAXIMUM_STEPS, f"{steps} steps of the schedule"),
        (0 < beta[0] < 1 and 0 < beta[1] < 1, f"betas from {beta[0]:g} to {beta[1]:g} lie outside 0 to 1"),
        (1 <= features <= MAXIMUM_FEATURES, f"an embedding of {features} features"),
        (1 <= prototypes <= MAXIMUM_FEATURES, f"{prototypes} prototypes per generator"),
        (min(manifest.latent_shape) > 0, f"latent shape {manifest.latent_shape}"),
        (math.prod(manifest.latent_shape) <= MAXIMUM_LATENT, f"latent shape {manifest.latent_shape}: too large"),
        (16 <= manifest.preprocessing.image_size <= 4096, f"image size {manifest.preprocessing.image_size}"),
        (len(manifest.variants) <= MAXIMUM_VARIANTS, f"{len(manifest.variants)} variants"),
        (len(manifest.computes) <= MAXIMUM_COMPUTES, f"{len(manifest.computes)} computes"),
        (len(manifest.files) <= MAXIMUM_FILES, f"{len(manifest.files)} files"),
    ]


def _refuse_unless(rules: list[tuple[bool, str]], where: str) -> None:
    broken = [shortened(text) for holds, text in rules if not holds]
    if broken:
        raise BundleError(f"{where}: {'; '.join(broken)}")
