"""The bundle: everything that inference needs, in one directory or one .zip, with the SHA-256 of every file.

Nothing in a bundle is a pickle, and nothing in it is executed before every check here has passed:

    manifest.json                       what the bundle is, and the hash and size of every other file
    noise_bank.npy                      float32 [T, C, h, w], the frozen ε
    prototypes.npy                      float32 [K, M, D], for the reasons of a verdict
    variants/<variant>/latent_encoder.onnx, attributor.onnx, calibration.npz, report.json
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from protoleak.diffusion import Float32Array, Float64Array, NoiseSchedule
from protoleak.errors import BundleError
from protoleak.onnx_check import inspect_onnx

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
NOISE_BANK = "noise_bank.npy"
PROTOTYPES = "prototypes.npy"
VARIANT_FILES = ("latent_encoder.onnx", "attributor.onnx", "calibration.npz", "report.json")
DEFAULT_BUNDLE = Path(__file__).parent / "default_bundle"

MAXIMUM_MANIFEST_BYTES = 16 * 2**20
MAXIMUM_TOTAL_BYTES = 8 * 2**30  # well above the largest bundle (three variants of an SD 2.1 encoder are 0.3 GB)
MAXIMUM_COMPRESSION_RATIO = 200  # weights hardly compress; JSON compresses about tenfold
MAXIMUM_GENERATORS = 10_000
SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")


class FileRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the manifest says of one file."""

    sha256: str
    size: int


class LowFrequency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The low-frequency half of the network's input: the `components` lowest DCT-II vectors of each axis."""

    components: int


class Preprocessing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """RGB, short side to `image_size` (Pillow bilinear), centre crop; no EXIF rotation."""

    image_size: int = 256


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The noise schedule; `kind` is always "linear" in schema 1."""

    kind: str = "linear"
    beta_start: float = 0.00085
    beta_end: float = 0.012
    steps: int = 1000


class Density(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the open-set density was made; the density itself is inside attributor.onnx."""

    space: str  # "whitened" or "gated"
    bandwidth: float
    bandwidth_in_neighbour_distances: float
    reference_images: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """manifest.json. All fields are checked for type; unknown fields are refused."""

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

    @property
    def noise_schedule(self) -> NoiseSchedule:
        return NoiseSchedule(self.schedule.beta_start, self.schedule.beta_end, self.schedule.steps)


@dataclass(frozen=True)
class Calibration:
    """What one variant's own outputs on the calibration images gave.

    Attributes:
        overall: float64 [n], sorted log densities of all calibration images.
        per_generator: one sorted float64 array per generator: the log densities of the calibration images that this
            variant attributed to that generator.
        temperature: T of the calibrated softmax(class score / T), or None where none was fitted.
    """

    overall: Float64Array
    per_generator: tuple[Float64Array, ...]
    temperature: float | None

    def to_bytes(self) -> bytes:
        """The .npz form (no pickle)."""
        arrays: dict[str, npt.NDArray[Any]] = {"overall": self.overall}
        arrays |= {f"generator_{index}": values for index, values in enumerate(self.per_generator)}
        if self.temperature is not None:
            arrays["temperature"] = np.float64(self.temperature)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]  # the stub takes allow_pickle for one of the arrays
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, generators: int, where: str) -> Calibration:
        """Reads the .npz form.

        Raises:
            BundleError: it is not such a file, or an array is missing, unsorted or not finite.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                arrays = {name: np.asarray(file[name], dtype=np.float64) for name in file.files}
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, KeyError) as error:
            raise BundleError(f"{where} is not a calibration file: {error}") from error
        wanted = ["overall", *(f"generator_{index}" for index in range(generators))]
        for name in wanted:
            values = arrays.get(name)
            if values is None or values.ndim != 1:
                raise BundleError(f"{where} lacks the list {name!r}: export the bundle again")
            if not np.isfinite(values).all() or (np.diff(values) < 0).any():
                raise BundleError(f"{where}: the log densities {name!r} are not finite and sorted; export again")
        temperature = arrays.get("temperature")
        if temperature is not None and not (temperature.shape == () and np.isfinite(temperature) and temperature > 0):
            raise BundleError(f"{where}: the temperature {temperature} is not a positive number")
        return cls(
            overall=arrays["overall"],
            per_generator=tuple(arrays[name] for name in wanted[1:]),
            temperature=None if temperature is None else float(temperature),
        )


@dataclass(frozen=True)
class Variant:
    """One precision of a bundle, read and checked.

    Attributes:
        latent_encoder, attributor: serialised ONNX models.
        report: the parsed report.json: what was measured of this variant.
    """

    name: str
    latent_encoder: bytes
    attributor: bytes
    calibration: Calibration
    report: dict[str, Any]


class Bundle:
    """A checked bundle. Make one with `Bundle.load`.

    Attributes:
        path: where it was read from.
        manifest: the parsed manifest.json.
        sha256: SHA-256 of manifest.json; it covers every file, since the manifest holds their hashes.
        noise_bank: float32 [T, C, h, w].
        prototypes: float32 [K, M, D].
    """

    def __init__(self, path: Path, manifest: Manifest, sha256: str, files: Mapping[str, bytes]) -> None:
        self.path = path
        self.manifest = manifest
        self.sha256 = sha256
        self._files = files
        self.noise_bank = _read_array(files[NOISE_BANK], NOISE_BANK, (len(manifest.timesteps), *manifest.latent_shape))
        self.prototypes = _read_array(
            files[PROTOTYPES],
            PROTOTYPES,
            (len(manifest.generators), manifest.prototypes_per_generator, manifest.embedding_size),
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None) -> Bundle:
        """Reads a bundle (a directory or a .zip; None for the one that comes with the package) and checks all of it.

        Raises:
            BundleError: a missing, changed or unlisted file, another schema, a path that leaves the bundle, more data
                than declared, or a graph with NaN weights, random operators or data outside its file.
        """
        location = DEFAULT_BUNDLE if path is None else Path(path)
        try:
            if location.is_dir():
                manifest, files = _read_directory(location)
            elif location.is_file():
                manifest, files = _read_zip(location)
            else:
                raise BundleError(
                    f"no bundle at {location}: give a bundle directory or .zip, or make one with `protoleak export`"
                )
        except OSError as error:
            raise BundleError(f"the bundle {location} cannot be read: {error.strerror or error}") from error
        _check_files(files, manifest, location)
        bundle = cls(location, manifest, hashlib.sha256(files[MANIFEST]).hexdigest(), files)
        for name in manifest.variants:
            bundle._check_graphs(name)
        return bundle

    def variant(self, name: str) -> Variant:
        """One variant's graphs and calibration.

        Raises:
            BundleError: the bundle has no such variant; the message lists those it has.
        """
        if name not in self.manifest.variants:
            has = ", ".join(self.manifest.variants)
            raise BundleError(f"{self.path} has no variant {name!r}, only {has}: choose one or export it")
        folder = f"variants/{name}"
        where = f"{self.path}/{folder}"
        return Variant(
            name=name,
            latent_encoder=self._files[f"{folder}/latent_encoder.onnx"],
            attributor=self._files[f"{folder}/attributor.onnx"],
            calibration=Calibration.from_bytes(
                self._files[f"{folder}/calibration.npz"],
                len(self.manifest.generators),
                f"{where}/calibration.npz",
            ),
            report=_parse_report(self._files[f"{folder}/report.json"], f"{where}/report.json"),
        )

    def _check_graphs(self, variant: str) -> None:
        for graph in ("latent_encoder.onnx", "attributor.onnx"):
            name = f"variants/{variant}/{graph}"
            try:
                problems = inspect_onnx(self._files[name]).problems()
            except ValueError as error:
                raise BundleError(f"{self.path}/{name}: {error}") from error
            if problems:
                raise BundleError(f"{self.path}/{name}: {'; '.join(problems)}: nothing was executed; export it again")


def write_bundle(path: Path, manifest: Manifest, files: Mapping[str, bytes]) -> str:
    """Writes a bundle directory (or, where `path` ends in .zip, one file) and returns its SHA-256.

    The manifest's `files` is filled in here. The bundle appears under its name only when it is complete: it is
    written beside it and renamed. An existing bundle at that path is replaced; anything else there is left alone.

    Raises:
        BundleError: something that is not a bundle is at `path`, or the disk refused.
    """
    records = {name: FileRecord(hashlib.sha256(data).hexdigest(), len(data)) for name, data in sorted(files.items())}
    encoded = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(manifest, files=records)), indent=2)
    if path.exists() and not _looks_like_bundle(path):
        raise BundleError(f"{path} exists and is not a bundle: choose another place, or move it away")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            staged = Path(folder) / "bundle"
            if path.suffix == ".zip":
                with zipfile.ZipFile(staged, "w", zipfile.ZIP_DEFLATED) as archive:
                    for name, data in [(MANIFEST, encoded), *sorted(files.items())]:
                        archive.writestr(name, data)
                staged.replace(path)
            else:
                for name, data in [(MANIFEST, encoded), *files.items()]:
                    target = staged / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(data)
                if path.exists():
                    path.rename(Path(folder) / "replaced")
                staged.rename(path)
    except OSError as error:
        raise BundleError(f"cannot write the bundle {path}: {error.strerror or error}") from error
    return hashlib.sha256(encoded).hexdigest()


def _looks_like_bundle(path: Path) -> bool:
    if path.is_dir():
        return (path / MANIFEST).is_file() or not any(path.iterdir())
    return path.suffix == ".zip" and zipfile.is_zipfile(path)


def _safe_name(name: str, location: Path) -> str:
    """The name itself if it stays inside the bundle, else an error. Names use forward slashes."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or "\\" in name or ".." in parts or ":" in parts[0]:
        raise BundleError(f"{location}: the path {name!r} leaves the bundle; nothing was read")
    return name


def _read_directory(location: Path) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest and every file that it lists. Links that lead out of the directory are refused."""
    manifest_path = location / MANIFEST
    if not manifest_path.is_file():
        raise BundleError(f"{location} has no {MANIFEST}: it is not a bundle; make one with `protoleak export`")
    if manifest_path.stat().st_size > MAXIMUM_MANIFEST_BYTES:
        raise BundleError(f"{manifest_path} is larger than {MAXIMUM_MANIFEST_BYTES} bytes: not a bundle's manifest")
    raw = manifest_path.read_bytes()
    manifest = _parse_manifest(raw, location)
    root = location.resolve()
    files = {MANIFEST: raw}
    for name, record in manifest.files.items():
        file = location / _safe_name(name, location)
        if not file.is_file():
            raise BundleError(f"{file} is missing: the bundle is incomplete; copy or export it again")
        if not file.resolve().is_relative_to(root):
            raise BundleError(f"{location}: {name!r} is a link that leaves the bundle; nothing was read")
        size = file.stat().st_size
        if size != record.size:
            raise BundleError(f"{file} has {size} bytes, the manifest says {record.size}: copy or export it again")
        files[name] = file.read_bytes()
    return manifest, files


def _read_zip(location: Path) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest and every file that it lists, never more bytes than declared, whatever the archive claims."""
    try:
        with zipfile.ZipFile(location) as archive:
            raw = _read_member(archive, MANIFEST, MAXIMUM_MANIFEST_BYTES, location)
            manifest = _parse_manifest(raw, location)
            for member in archive.namelist():
                _safe_name(member, location)
            files = {MANIFEST: raw}
            for name, record in manifest.files.items():
                files[name] = _read_member(archive, _safe_name(name, location), record.size, location)
            return manifest, files
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise BundleError(f"{location} is not a readable .zip bundle: {error}") from error


def _read_member(archive: zipfile.ZipFile, name: str, maximum: int, location: Path) -> bytes:
    try:
        entry = archive.getinfo(name)
        if entry.file_size > MAXIMUM_COMPRESSION_RATIO * max(entry.compress_size, 1024):
            raise BundleError(
                f"{location}: {name} unpacks from {entry.compress_size} to {entry.file_size} bytes: a zip bomb, refused"
            )
        with archive.open(entry) as member:
            data = member.read(maximum + 1)
    except BundleError:
        raise
    except KeyError:
        raise BundleError(f"{location} lacks {name}: the bundle is incomplete; copy or export it again") from None
    except Exception as error:  # zlib.error and zipfile.BadZipFile share no base class
        raise BundleError(f"{location}: {name} cannot be unpacked: {error}") from error
    if len(data) > maximum:
        raise BundleError(f"{location}: {name} unpacks to more than {maximum} bytes, the size allowed for it; refused")
    return data


def _parse_manifest(raw: bytes, location: Path) -> Manifest:
    where = f"{location}/{MANIFEST}"
    try:
        version = msgspec.json.decode(raw, type=_SchemaOnly).schema_version
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{where} is not a bundle's manifest: {error}") from error
    if version != SCHEMA_VERSION:
        newer = "upgrade protoleak" if version > SCHEMA_VERSION else "export the bundle again"
        raise BundleError(f"{where} has schema version {version}, this protoleak reads {SCHEMA_VERSION}: {newer}")
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{where} is not a valid manifest: {error}") from error
    _check_manifest(manifest, where)
    return manifest


class _SchemaOnly(msgspec.Struct):
    schema_version: int


def _check_manifest(manifest: Manifest, where: str) -> None:
    """The cross-field rules that types cannot say."""
    names = manifest.generators
    try:
        schedule_fits = bool(manifest.timesteps) and manifest.noise_schedule.coefficients(tuple(manifest.timesteps))
    except ValueError:
        schedule_fits = False
    total = sum(record.size for record in manifest.files.values())
    rules: list[tuple[bool, str]] = [
        (2 <= len(names) <= MAXIMUM_GENERATORS, f"{len(names)} generators: at least two are needed"),
        (len(set(names)) == len(names), "two generators share a name"),
        (
            manifest.real_class is None or manifest.real_class in names,
            f"{manifest.real_class!r} is no generator",
        ),
        (manifest.schedule.kind == "linear", f"schedule {manifest.schedule.kind!r}: only 'linear' is known"),
        (bool(schedule_fits), f"timesteps {manifest.timesteps} do not fit the schedule"),
        (min(manifest.latent_shape) > 0, f"latent shape {manifest.latent_shape}"),
        (16 <= manifest.preprocessing.image_size <= 4096, f"image size {manifest.preprocessing.image_size}"),
        (
            manifest.low_frequency is None or 1 <= manifest.low_frequency.components <= min(manifest.latent_shape[1:]),
            f"{manifest.low_frequency} for latents of {manifest.latent_shape}",
        ),
        (bool(manifest.variants), "no variant"),
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
    broken = [text for holds, text in rules if not holds]
    if broken:
        raise BundleError(f"{where}: {'; '.join(broken)}")


def _check_files(files: Mapping[str, bytes], manifest: Manifest, location: Path) -> None:
    needed = {NOISE_BANK, PROTOTYPES}
    needed |= {f"variants/{variant}/{name}" for variant in manifest.variants for name in VARIANT_FILES}
    unlisted = sorted(needed - manifest.files.keys())
    if unlisted:
        raise BundleError(f"{location}/{MANIFEST} does not list {', '.join(unlisted)}: export the bundle again")
    for name, record in manifest.files.items():
        data = files[name]
        found = hashlib.sha256(data).hexdigest()
        if len(data) != record.size or found != record.sha256:
            raise BundleError(
                f"{location}/{name} was changed: SHA-256 {found[:12]}…, the manifest says {record.sha256[:12]}…; "
                "nothing was executed; copy or export the bundle again"
            )


def _read_array(data: bytes, name: str, shape: tuple[int, ...]) -> Float32Array:
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise BundleError(f"{name} is not an array file: {error}") from error
    if array.dtype != np.float32 or array.shape != shape:
        raise BundleError(f"{name} is {array.dtype} {array.shape}, the manifest asks for float32 {shape}")
    if not np.isfinite(array).all():
        raise BundleError(f"{name} holds NaN or infinite values: nothing was executed; export the bundle again")
    result: Float32Array = array
    return result


def _parse_report(data: bytes, where: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{where} is not a report: {error}") from error


def array_bytes(array: npt.NDArray[Any]) -> bytes:
    """An array in .npy form, as `write_bundle` takes it."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
