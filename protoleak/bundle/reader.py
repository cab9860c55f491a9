"""Reads a bundle's files, from a directory or a .zip, and believes nothing: names, sizes and hashes are all checked."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from protoleak.bundle.archive import ArchiveError, open_archive, read_member
from protoleak.bundle.manifest import MANIFEST, Manifest
from protoleak.bundle.manifest_check import parse_manifest
from protoleak.bundle.signature import MAXIMUM_SIGNATURE_BYTES, SIGNATURE
from protoleak.errors import BundleError, shortened
from protoleak.files import read_regular

if TYPE_CHECKING:
    from importlib.abc import Traversable

NOISE_BANK = "noise_bank.npy"
PROTOTYPES = "prototypes.npy"
FACE_DETECTOR = "face_detector.onnx"
CALIBRATION, REPORT = "calibration.npz", "report.json"
VARIANT_FILES = ("latent_encoder.onnx", "attributor.onnx", CALIBRATION, REPORT)
LONGEST_NAME = 200  # characters of a file's path in a bundle
MAXIMUM_MANIFEST_BYTES = 4 * 2**20  # as objects in memory it takes up to thirty times as much


def _safe_name(name: str, location: Path) -> str:
    """The name itself if it stays inside the bundle, else an error. Names use forward slashes."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or "\\" in name or ".." in parts or ":" in parts[0] or "\0" in name:
        raise BundleError(f"{location}: the path {shortened(name)!r} leaves the bundle; nothing was read")
    if len(name) > LONGEST_NAME:
        raise BundleError(f"{location}: a path of {len(name)} characters, {name[:40]!r}…; nothing was read")
    return name


def read_directory(location: Path) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest, every file that it lists, and the signature. Links that lead out of the directory are refused."""
    manifest_path = location / MANIFEST
    if not manifest_path.is_file():
        raise BundleError(f"{location} has no {MANIFEST}: it is not a bundle; make one with `protoleak export`")
    root = location.resolve()
    for name in (MANIFEST, SIGNATURE):
        _check_link(location, name, root)
    raw = read_regular(manifest_path, MAXIMUM_MANIFEST_BYTES)
    if len(raw) > MAXIMUM_MANIFEST_BYTES:
        raise BundleError(f"{manifest_path} is larger than {MAXIMUM_MANIFEST_BYTES} bytes: not a bundle's manifest")
    manifest = parse_manifest(raw, location)
    files = {MANIFEST: raw}
    for name, record in manifest.files.items():
        file = location / _safe_name(name, location)
        if not file.is_file():
            raise BundleError(f"{file} is missing: the bundle is incomplete; copy or export it again")
        _check_link(location, name, root)
        size = file.stat().st_size
        if size != record.size:
            raise BundleError(f"{file} has {size} bytes, the manifest says {record.size}: copy or export it again")
        files[name] = read_regular(file, record.size)
    signature = location / SIGNATURE
    if signature.is_file():
        files[SIGNATURE] = read_regular(signature, MAXIMUM_SIGNATURE_BYTES)
        if len(files[SIGNATURE]) > MAXIMUM_SIGNATURE_BYTES:
            raise BundleError(f"{signature} is larger than {MAXIMUM_SIGNATURE_BYTES} bytes: not a signature")
    return manifest, files


def _check_link(location: Path, name: str, root: Path) -> None:
    if not (location / name).resolve().is_relative_to(root):
        raise BundleError(f"{location}: {name!r} is a link that leaves the bundle; nothing was read")


def read_resources(folder: Traversable, location: Path) -> tuple[Manifest, dict[str, bytes]]:
    """The same of a folder in a package that is imported from an archive: it is ours, and has no links.

    Args:
        location: of the folder, for messages.
    """
    raw = folder.joinpath(MANIFEST).read_bytes()
    manifest = parse_manifest(raw, location)
    names = [_safe_name(name, location) for name in manifest.files]
    return manifest, {MANIFEST: raw} | {name: folder.joinpath(*name.split("/")).read_bytes() for name in names}


def read_zip(location: Path) -> tuple[Manifest, dict[str, bytes]]:
    """As `read_directory`, never more bytes than declared, whatever the archive claims."""
    try:
        with location.open("rb") as file, open_archive(file) as archive:
            names = archive.namelist()
            if len(names) > len(set(names)):
                raise BundleError(f"{location} holds two files of one name: copy or export the bundle again")
            for member in names:
                _safe_name(member, location)
            raw = _read_member(archive, MANIFEST, MAXIMUM_MANIFEST_BYTES, location)
            manifest = parse_manifest(raw, location)
            files = {MANIFEST: raw}
            for name, record in manifest.files.items():
                files[name] = _read_member(archive, _safe_name(name, location), record.size, location)
            if SIGNATURE in names:
                files[SIGNATURE] = _read_member(archive, SIGNATURE, MAXIMUM_SIGNATURE_BYTES, location)
            return manifest, files
    except (ArchiveError, zipfile.BadZipFile) as error:
        raise BundleError(f"{location} is not a readable .zip bundle: {error}") from error


def _read_member(archive: zipfile.ZipFile, name: str, maximum: int, location: Path) -> bytes:
    try:
        entry = archive.getinfo(name)
    except KeyError:
        raise BundleError(f"{location} lacks {name}: the bundle is incomplete; copy or export it again") from None
    try:
        return read_member(archive, entry, maximum)
    except ArchiveError as error:
        raise BundleError(f"{location}: {error}") from error


def check_files(files: Mapping[str, bytes], manifest: Manifest, location: Path) -> None:
    """Raises BundleError unless the manifest lists the files that a bundle of its variants needs, and `files` are
    those, with the hashes it gives them."""
    needed = {NOISE_BANK, PROTOTYPES}
    needed |= {f"variants/{variant}/{name}" for variant in manifest.variants for name in VARIANT_FILES}
    needed |= {f"{compute.folder}/{name}" for compute in manifest.computes for name in (CALIBRATION, REPORT)}
    if manifest.face_detector is not None:
        needed.add(FACE_DETECTOR)
    if SIGNATURE in manifest.files:
        raise BundleError(f"{location}/{MANIFEST} lists {SIGNATURE}, which signs it: export the bundle again")
    unlisted = sorted(needed - manifest.files.keys())
    if unlisted:
        raise BundleError(f"{location}/{MANIFEST} does not list {shortened(', '.join(unlisted))}: export it again")
    for name, record in manifest.files.items():
        data = files[name]
        found = hashlib.sha256(data).hexdigest()
        if len(data) != record.size or found != record.sha256:
            raise BundleError(
                f"{location}/{name} was changed: SHA-256 {found[:12]}…, the manifest says {record.sha256[:12]}…; "
                "nothing was executed; copy or export the bundle again"
            )
