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
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from protoleak.bundle.calibration import Calibration
from protoleak.bundle.enrolment import Additions, Base, read_base
from protoleak.bundle.enrolment_files import EnrolmentFiles
from protoleak.bundle.graph_check import (
    attributor_interface,
    check_face_detector,
    check_graph,
    latent_encoder_interface,
)
from protoleak.bundle.graph_sizes import Sizes
from protoleak.bundle.manifest import MANIFEST, Manifest
from protoleak.bundle.npy import read_float32, read_npy
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
from protoleak.bundle.signature import SIGNATURE, Signer, check_signature, sign_manifest
from protoleak.choices import Arithmetic
from protoleak.errors import BundleError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_DEFAULT_FILES = resources.files("protoleak") / "default_bundle"  # no path where the package lies in an archive
DEFAULT_BUNDLE = Path(str(_DEFAULT_FILES))


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
        enrolment: what it holds for enrolment and discovery.
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
        self.noise_bank = read_float32(files[NOISE_BANK], NOISE_BANK, (len(manifest.timesteps), *manifest.latent_shape))
        self.prototypes = read_float32(
            files[PROTOTYPES],
            PROTOTYPES,
            (len(manifest.generators), manifest.prototypes_per_generator, manifest.embedding_size),
        )
        self.enrolment = EnrolmentFiles(path, manifest, files, self.prototypes)

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
            additions=self.enrolment.additions,
            compute=calibrated.compute if calibrated else "exact",
        )

    def to_be_tried(self, variant: str) -> bool:
        """Whether a variant's graphs are so large that nobody can say what an engine takes to open them, and nobody who
        is trusted has signed them: they are then opened in a process with limits first."""
        return variant in self._heavy and not (self.signer is not None and self.signer.trusted)

    def _check_additions(self) -> None:
        """Raises BundleError where what enrolled generators need is missing, or the graph's prototypes were changed."""
        if self.base is None:
            return
        base = read_npy(self.base.files[PROTOTYPES], PROTOTYPES)
        if not np.array_equal(base, self.prototypes[: self.manifest.generators_in_graph]):
            raise BundleError(f"{self.path}: the prototypes of its base were changed; nothing was executed")
        _ = self.enrolment.additions

    def _check_graph(self, name: str, check: Callable[[bytes], Sizes]) -> Sizes:
        try:
            return check(self._files[name])
        except ValueError as error:
            raise BundleError(f"{self.path}/{name}: {error}: nothing was executed; export it again") from error
