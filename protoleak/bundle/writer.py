"""Writes a bundle, complete or not at all, and signs one that lies there."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from protoleak.bundle.bundle import Bundle
from protoleak.bundle.manifest import MANIFEST, FileRecord, Manifest
from protoleak.bundle.signature import SIGNATURE, Signer, fingerprint, raw_public_key
from protoleak.errors import BundleError
from protoleak.files import replacing, why_refused

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


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
        raise BundleError(f"cannot write the bundle {path}: {why_refused(error)}") from error
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
        raise BundleError(f"cannot sign the bundle {bundle.path}: {why_refused(error)}") from error
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


def array_bytes(array: npt.NDArray[Any]) -> bytes:
    """An array in .npy form, as `write_bundle` takes it."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
