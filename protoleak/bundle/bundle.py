"""The bundle: everything that inference needs, in one directory or one .zip, with the SHA-256 of every file.

Nothing in a bundle is a pickle, and nothing in it is executed before every check here has passed:

    signature.json                      over the manifest; only where the bundle is signed
    manifest.json                       what the bundle is, and the hash and size of every other file
    noise_bank.npy                      float32 [T, C, h, w], the frozen ε
    prototypes.npy                      float32 [K, M, D], for the reasons of a verdict
    face_detector.onnx                  finds the faces in images and frames; only where one was put in
    variants/<variant>/latent_encoder.onnx, attributor.onnx, calibration.npz, report.json
    variants/<variant>/<engine>-<compute>/calibration.npz, report.json    where it was calibrated in that, too
    enrolment.npz and more              what a generator can be added with; see `enrolment`
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float32Array, Float64Array
from protoleak.bundle.class_statistics import CLASS_STATISTICS, ClassStatistics, Discriminant, discriminant_file
from protoleak.bundle.enrolment import (
    ENROLMENT,
    REMEDY,
    Additions,
    Base,
    Record,
    ScoreConstants,
    enrolled_file,
    read_base,
    record_file,
    site_file,
)
from protoleak.bundle.graph_check import (
    attributor_interface,
    check_face_detector,
    check_graph,
    latent_encoder_interface,
)
from protoleak.bundle.graph_sizes import Sizes
from protoleak.bundle.manifest import MANIFEST, FileRecord, Manifest
from protoleak.bundle.npy import read_npy, read_npz
from protoleak.bundle.reader import (
    CALIBRATION,
    FACE_DETECTOR,
    NOISE_BANK,
    PROTOTYPES,
    REPORT,
    check_files,
    read_directory,
    read_resources,
    read_zip,
)
from protoleak.bundle.report import BundleReport, parse_report
from protoleak.bundle.signature import (
    SIGNATURE,
    Signer,
    check_signature,
    fingerprint,
    raw_public_key,
    sign_manifest,
)
from protoleak.bundle.traces import TRACES, TraceSpace
from protoleak.choices import Arithmetic
from protoleak.errors import BundleError
from protoleak.files import replacing
from protoleak.latent_statistics import statistic_count

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ACCUSATION_SHARE = 0.2  # accusing a photograph is worse than calling a known generator unknown
_DEFAULT_FILES = resources.files("protoleak") / "default_bundle"  # no path where the package lies in an archive
DEFAULT_BUNDLE = Path(str(_DEFAULT_FILES))


@dataclass(frozen=True)
class Calibration:
    """What one variant's own outputs on the calibration images gave.

    Attributes:
        overall: float64 [n], sorted log densities of all calibration images.
        per_generator: one sorted float64 array per generator: the log densities of the calibration images that this
            variant attributed to that generator.
        temperature: T of the calibrated softmax(class score / T), or None where none was fitted.
        real_margins: float64 [m], sorted margins (`runtime.conformal.real_margin`) of the calibration images of the
            class of camera originals; None in a bundle without one.
        generated_margins: float64 [g], the same of calibration images by generators: `real` is said only of an image
            that is more camera-like than these; None in a bundle that doesn't ask for that.
        accusation_share: of α, in (0, 1]: the level among real_margins at which a generator may be named.
    """

    overall: Float64Array
    per_generator: tuple[Float64Array, ...]
    temperature: float | None
    real_margins: Float64Array | None = None
    generated_margins: Float64Array | None = None
    accusation_share: float = ACCUSATION_SHARE

    def to_bytes(self) -> bytes:
        """The .npz form (no pickle)."""
        arrays: dict[str, npt.NDArray[Any]] = {"overall": self.overall}
        arrays |= {f"generator_{index}": values for index, values in enumerate(self.per_generator)}
        if self.temperature is not None:
            arrays["temperature"] = np.float64(self.temperature)
        if self.real_margins is not None:
            arrays["real_margins"] = self.real_margins
        if self.generated_margins is not None:
            arrays["generated_margins"] = self.generated_margins
        if self.accusation_share != ACCUSATION_SHARE:
            arrays["accusation_share"] = np.float64(self.accusation_share)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # the stub takes allow_pickle for one of them
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, generators: int, where: str) -> Calibration:
        """Reads the .npz form.

        Raises:
            BundleError: it is not such a file, or an array is missing, unsorted or not finite.
        """
        wanted = ["overall", *(f"generator_{index}" for index in range(generators))]
        known = {*wanted, "temperature", "real_margins", "generated_margins", "accusation_share"}
        arrays = {name: np.asarray(found, np.float64) for name, found in read_npz(data, where, known).items()}
        margins = [name for name in ("real_margins", "generated_margins") if name in arrays]
        for name in [*wanted, *margins]:
            values = arrays.get(name)
            if values is None or values.ndim != 1:
                raise BundleError(f"{where} lacks the list {name!r}: export the bundle again")
            if not np.isfinite(values).all() or (np.diff(values) < 0).any():
                raise BundleError(f"{where}: the values of {name!r} are not finite and sorted; export again")
        temperature = arrays.get("temperature")
        if temperature is not None and not (temperature.shape == () and np.isfinite(temperature) and temperature > 0):
            raise BundleError(f"{where}: the temperature {temperature} is not a positive number")
        share = arrays.get("accusation_share", np.float64(ACCUSATION_SHARE))
        if not (share.shape == () and 0 < share <= 1):
            raise BundleError(f"{where}: the accusation share {share} does not lie in (0, 1]")
        return cls(
            overall=arrays["overall"],
            per_generator=tuple(arrays[name] for name in wanted[1:]),
            temperature=None if temperature is None else float(temperature),
            real_margins=arrays.get("real_margins"),
            generated_margins=arrays.get("generated_margins"),
            accusation_share=float(share),
        )


@dataclass(frozen=True)
class Variant:
    """One precision of a bundle, read and checked.

    Attributes:
        latent_encoder, attributor: serialised ONNX models.
        calibration: conformal lists of what these graphs gave in `compute`.
        report: report.json: what was measured of this variant in `compute`.
        additions: generators that were enrolled, whose scores are computed beside the graph; None without any.
    """

    name: str
    latent_encoder: bytes
    attributor: bytes
    calibration: Calibration
    report: BundleReport
    additions: Additions | None = None
    compute: Arithmetic = "exact"


class Bundle:
    """A checked bundle. Make one with `Bundle.load`.

    Attributes:
        path: where it was read from.
        manifest: the parsed manifest.json.
        sha256: SHA-256 of manifest.json; it covers every file, since the manifest holds their hashes.
        signer: whose key it is signed with; None for an unsigned bundle.
        noise_bank: float32 [T, C, h, w].
        prototypes: float32 [K, M, D], those of enrolled generators behind the others.
        base: the bundle as it was exported, where generators were enrolled or it was recalibrated; else None.
    """

    def __init__(
        self, path: Path, manifest: Manifest, sha256: str, files: Mapping[str, bytes], signer: Signer | None
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.sha256 = sha256
        self.signer = signer
        self.base: Base | None = None
        self._files = files
        self._heavy: set[str] = set()
        self.noise_bank = _read_array(files[NOISE_BANK], NOISE_BANK, (len(manifest.timesteps), *manifest.latent_shape))
        self.prototypes = _read_array(
            files[PROTOTYPES],
            PROTOTYPES,
            (len(manifest.generators), manifest.prototypes_per_generator, manifest.embedding_size),
        )

    @classmethod
    def load(
        cls, path: str | os.PathLike[str] | None = None, *, trusted_key: str | os.PathLike[str] | None = None
    ) -> Bundle:
        """Reads a bundle (a directory or a .zip; None for the one that comes with the package) and checks all of it.

        Args:
            trusted_key: file with the Ed25519 public key that the bundle must be signed with; None for any or none.

        Raises:
            MissingExtra: a key is given and `cryptography` is not installed.
            ProtoleakError: the key cannot be read.
            BundleError: a missing, changed or unlisted file, another schema, a path that leaves the bundle, more data
                than declared, or a graph that is not what the manifest says, or that `graph_check` refuses.
        """
        location = DEFAULT_BUNDLE if path is None else Path(path)
        try:
            if path is None and not isinstance(_DEFAULT_FILES, Path):
                manifest, files = read_resources(_DEFAULT_FILES, location)
            elif location.is_dir():
                manifest, files = read_directory(location)
            elif location.is_file():
                manifest, files = read_zip(location)
            else:
                raise BundleError(
                    f"no bundle at {location}: give a bundle directory or .zip, or make one with `protoleak export`"
                )
        except OSError as error:
            raise BundleError(f"the bundle {location} cannot be read: {error.strerror or error}") from error
        signer = check_signature(files[MANIFEST], files.get(SIGNATURE), location, trusted_key)
        check_files(files, manifest, location)
        bundle = cls(location, manifest, hashlib.sha256(files[MANIFEST]).hexdigest(), files, signer)
        bundle.base = read_base(files, manifest, location)
        bundle._check_additions()
        encoder, attributor = latent_encoder_interface(manifest), attributor_interface(manifest)
        for name in manifest.variants:
            of_encoder, of_attributor = (
                bundle._check_graph(f"variants/{name}/{graph}.onnx", partial(check_graph, interface=interface))
                for graph, interface in (("latent_encoder", encoder), ("attributor", attributor))
            )
            if not (of_encoder.light and of_attributor.light):
                bundle._heavy.add(name)
        if manifest.face_detector is not None:
            bundle._check_graph(FACE_DETECTOR, check_face_detector)
        return bundle

    def require_signer(self, trusted_key: str | os.PathLike[str]) -> None:
        """Checks again that the bundle is signed, with the key in this file.

        Raises:
            BundleError, MissingExtra, ProtoleakError: see `load`.
        """
        self.signer = check_signature(self._files[MANIFEST], self._files.get(SIGNATURE), self.path, trusted_key)

    def signed(self, key: Ed25519PrivateKey) -> bytes:
        """signature.json with the signature of this key."""
        return sign_manifest(self._files[MANIFEST], key)

    def contents(self) -> Mapping[str, bytes]:
        """Every file that was read, by its name in the bundle."""
        return self._files

    @property
    def face_detector(self) -> bytes | None:
        """The serialised ONNX model that finds faces, of the kind that the manifest says; None where there is none."""
        return None if self.manifest.face_detector is None else self._files[FACE_DETECTOR]

    def variant(self, name: str, engine: str | None = None, compute: str = "exact") -> Variant:
        """One variant's graphs and calibration.

        Args:
            engine, compute: what runs the graphs and how. Where the bundle has conformal lists for that they are given,
                else those of exact computing, as `Variant.compute` says.

        Raises:
            BundleError: the bundle has no such variant; the message lists those it has.
        """
        if name not in self.manifest.variants:
            has = ", ".join(self.manifest.variants)
            raise BundleError(f"{self.path} has no variant {name!r}, only {has}: choose one or export it")
        folder = f"variants/{name}"
        calibrated = self.manifest.calibrated(name, engine, compute)
        lists, report = (f"{calibrated.folder if calibrated else folder}/{file}" for file in (CALIBRATION, REPORT))
        return Variant(
            name=name,
            latent_encoder=self._files[f"{folder}/latent_encoder.onnx"],
            attributor=self._files[f"{folder}/attributor.onnx"],
            calibration=Calibration.from_bytes(
                self._files[lists], len(self.manifest.generators), f"{self.path}/{lists}"
            ),
            report=parse_report(self._files[report], f"{self.path}/{report}"),
            additions=self.additions,
            compute=calibrated.compute if calibrated else "exact",
        )

    def to_be_tried(self, variant: str) -> bool:
        """Whether a variant's graphs are so large that nobody can say what an engine takes to open them, and nobody who
        is trusted has signed them: they are then opened in a process with limits first."""
        return variant in self._heavy and not (self.signer is not None and self.signer.trusted)

    @property
    def additions(self) -> Additions | None:
        """The enrolled generators; None without any."""
        enrolled = self.manifest.enrolled
        if not enrolled:
            return None
        first = self.manifest.generators_in_graph
        statistics = self.class_statistics()
        size = len(statistics.mean)
        discriminants = []
        for index in range(len(enrolled)):
            name = discriminant_file(index)
            where = f"{self.path}/{name}"
            if name not in self._files:
                raise BundleError(f"{where} is missing: enrol the generator again")
            discriminants.append(Discriminant.from_bytes(self._files[name], where, size, first + index))
        return Additions(
            self.prototypes[first:].astype(np.float64),
            tuple(discriminants),
            np.array([one.offset for one in enrolled], np.float64),
            self.score_constants(),
            statistics,
        )

    def score_constants(self) -> ScoreConstants:
        """What the graph computes class score and log density with.

        Raises:
            BundleError: the bundle was exported without it, as are those of other heads and densities.
        """
        if ENROLMENT not in self._files:
            raise BundleError(
                f"{self.path} holds nothing that a generator could be enrolled with ({ENROLMENT}): {REMEDY}"
            )
        return ScoreConstants.from_bytes(self._files[ENROLMENT], f"{self.path}/{ENROLMENT}")

    def traces(self) -> TraceSpace | None:
        """What tells generators apart that the bundle doesn't know; None for one that was exported without it.

        Raises:
            BundleError: it is not what `export` writes.
        """
        if TRACES not in self._files:
            return None
        looks, channels = len(self.manifest.preprocessing.looks), self.manifest.latent_shape[0]
        return TraceSpace.from_bytes(self._files[TRACES], f"{self.path}/{TRACES}", looks, statistic_count(channels))

    def class_statistics(self) -> ClassStatistics:
        """How the features of the named classes are distributed, which a newcomer is told from them by.

        Raises:
            BundleError: the bundle was exported without them.
        """
        if CLASS_STATISTICS not in self._files:
            raise BundleError(
                f"{self.path} holds nothing that a newcomer could be told by ({CLASS_STATISTICS}): {REMEDY}"
            )
        where = f"{self.path}/{CLASS_STATISTICS}"
        return ClassStatistics.from_bytes(self._files[CLASS_STATISTICS], where, self.manifest.generators_in_graph)

    @property
    def has_class_statistics(self) -> bool:
        """Whether the bundle was exported with `class_statistics`."""
        return CLASS_STATISTICS in self._files

    def record(self, variant: str) -> Record:
        """What a variant gave for its calibration images: the exporter's, or those that it was recalibrated with.

        Raises:
            BundleError: the bundle was exported without it.
        """
        site = site_file(variant)
        return self._record(site if self.manifest.recalibrated is not None else record_file(variant))

    def enrolled_record(self, variant: str, index: int) -> Record:
        """What a variant gave for the pictures of an enrolled generator.

        Args:
            index: among the enrolled generators.
        """
        return self._record(enrolled_file(variant, index))

    def _record(self, name: str) -> Record:
        if name not in self._files:
            raise BundleError(f"{self.path} lacks {name}, the outputs on its calibration images: {REMEDY}")
        manifest = self.manifest
        where = f"{self.path}/{name}"
        record = Record.from_bytes(self._files[name], where, manifest.generators_in_graph, manifest.embedding_size)
        if len(record.labels) and not 0 <= record.labels.min() <= record.labels.max() < len(manifest.generators):
            raise BundleError(f"{where}: a label stands for no generator; export the bundle again")
        size = record.features.shape[1]
        if size and size != len(self.class_statistics().mean):
            raise BundleError(f"{where}: {size} features are not those of {CLASS_STATISTICS}; export the bundle again")
        return record

    def _check_additions(self) -> None:
        """Raises BundleError where what enrolled generators need is missing, or the graph's prototypes were changed."""
        if self.base is None:
            return
        base = read_npy(self.base.files[PROTOTYPES], PROTOTYPES)
        if not np.array_equal(base, self.prototypes[: self.manifest.generators_in_graph]):
            raise BundleError(f"{self.path}: the prototypes of its base were changed; nothing was executed")
        _ = self.additions

    def _check_graph(self, name: str, check: Callable[[bytes], Sizes]) -> Sizes:
        try:
            return check(self._files[name])
        except ValueError as error:
            raise BundleError(f"{self.path}/{name}: {error}: nothing was executed; export it again") from error


def write_bundle(path: Path, manifest: Manifest, files: Mapping[str, bytes]) -> str:
    """Writes a bundle directory (or, where `path` ends in .zip, one file) and returns its SHA-256.

    The manifest's `files` is filled in here. The bundle appears under its name only when it is complete: it is
    written beside it and renamed. An existing bundle at that path is replaced; anything else there is left alone.

    Raises:
        BundleError: something that is not a bundle is at `path`, or the disk refused.
    """
    records = {name: FileRecord(hashlib.sha256(data).hexdigest(), len(data)) for name, data in sorted(files.items())}
    encoded = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(manifest, files=records)), indent=2)
    return write_files(path, {MANIFEST: encoded, **files})


def write_files(path: Path, files: Mapping[str, bytes]) -> str:
    """As `write_bundle`, of files that are complete: the manifest among them, and a signature where there is one.

    Raises:
        BundleError: something that is not a bundle is at `path`, or the disk refused.
    """
    check_place(path)
    try:
        with replacing(path) as staged:
            if path.suffix == ".zip":
                _write_zip(staged, files)
            else:
                for name, data in files.items():
                    target = staged / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(data)
    except OSError as error:
        raise BundleError(f"cannot write the bundle {path}: {error.strerror or error}") from error
    return hashlib.sha256(files[MANIFEST]).hexdigest()


def sign_bundle(bundle: Bundle, key: Ed25519PrivateKey) -> Signer:
    """Puts a signature into a bundle where it lies, in the place of one that it has; returns whose it is.

    Raises:
        BundleError: the disk refused; the bundle is then as it was.
    """
    signature = bundle.signed(key)
    try:
        if bundle.path.is_dir():
            with replacing(bundle.path / SIGNATURE) as staged:
                staged.write_bytes(signature)
        else:
            contents = dict(bundle.contents()) | {SIGNATURE: signature}
            with replacing(bundle.path) as staged:
                _write_zip(staged, contents)
    except OSError as error:
        raise BundleError(f"cannot sign the bundle {bundle.path}: {error.strerror or error}") from error
    return Signer(fingerprint(raw_public_key(key.public_key())), checked=True, trusted=False)


def _write_zip(path: Path, contents: Mapping[str, bytes]) -> None:
    """The manifest first, so that a reader of the stream knows what comes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(contents, key=lambda name: (name != MANIFEST, name)):
            archive.writestr(name, contents[name])


def check_place(path: Path) -> None:
    """Raises BundleError where something that is not a bundle is at `path`: it is never replaced."""
    if path.exists() and not _looks_like_bundle(path):
        raise BundleError(f"{path} exists and is not a bundle: choose another place, or move it away")


def _looks_like_bundle(path: Path) -> bool:
    if path.is_dir():
        return (path / MANIFEST).is_file() or not any(path.iterdir())
    return path.suffix == ".zip" and zipfile.is_zipfile(path)


def _read_array(data: bytes, name: str, shape: tuple[int, ...]) -> Float32Array:
    array = read_npy(data, name)
    if array.dtype != np.float32 or array.shape != shape:
        raise BundleError(f"{name} is {array.dtype} {array.shape}, the manifest asks for float32 {shape}")
    if not np.isfinite(array).all():
        raise BundleError(f"{name} holds NaN or infinite values: nothing was executed; export the bundle again")
    return np.ascontiguousarray(array, np.float32)


def array_bytes(array: npt.NDArray[Any]) -> bytes:
    """An array in .npy form, as `write_bundle` takes it."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
