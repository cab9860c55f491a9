"""Signed bundles: who vouches for a bundle's manifest, and by that for every file in it.

A bundle may hold signature.json beside its manifest: an Ed25519 signature over the manifest's bytes, and the public key
that it can be checked with. The manifest holds the SHA-256 of every other file, so the signature covers them all; it is
not listed in the manifest itself. Anybody can sign: only a comparison with a key that came from somewhere else than the
bundle says that somebody in particular did. docs/decisions/0016-signed-bundles.md
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from protoleak.errors import BundleError, MissingExtra, ProtoleakError
from protoleak.strict_json import decode_json, json_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE = "signature.json"
MAXIMUM_SIGNATURE_BYTES = 4096
MAXIMUM_KEY_BYTES = 16_384
# Before the manifest in what is signed, so that a signature made for anything else is none of a bundle.
CONTEXT = b"protoleak bundle manifest, version 1\n"
KEY_BEGINS = re.compile(rb"^(?:-----BEGIN |ssh-|ecdsa-)", re.MULTILINE)
NEW_KEY = "make one with `protoleak sign --new-key KEY`"


class SignatureFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """signature.json.

    Attributes:
        public_key: the 32 bytes of the signer's public key, in hexadecimal digits.
        signature: the 64 bytes of the signature over CONTEXT and the manifest, in hexadecimal digits.
    """

    algorithm: Literal["ed25519"]
    public_key: str
    signature: str


class Signer(msgspec.Struct, frozen=True):
    """Whose key a bundle is signed with.

    Attributes:
        key: fingerprint of the public key, see `fingerprint`.
        checked: the signature was verified; False only where `cryptography` is not installed.
        trusted: the key is the one that the user named.
    """

    key: str
    checked: bool
    trusted: bool


def check_signature(
    manifest: bytes, signature: bytes | None, where: object, trusted_key: str | os.PathLike[str] | None
) -> Signer | None:
    """Verifies a bundle's signature, if it has one or must have one.

    Args:
        manifest: the bytes of manifest.json.
        signature: those of signature.json, or None.
        where: the bundle, for messages.
        trusted_key: file with the public key that the signature must be by, or None for any or no signature.

    Returns:
        Whose it is; None for a bundle without one.

    Raises:
        BundleError: the signature is not one of this manifest; or a key is named, and the bundle is not signed by it.
        ProtoleakError: the named key cannot be read.
        MissingExtra: a key is named, and `cryptography` is not installed.
    """
    trusted = None if trusted_key is None else read_public_key(trusted_key)
    if signature is None:
        if trusted is not None:
            raise BundleError(
                f"{where} is not signed, and --trusted-key {trusted_key} asks for a signature: nothing was executed; "
                "get it from whoever signs it, or leave the key out"
            )
        return None
    try:
        content = decode_json(signature, SignatureFile)
        public, proof = bytes.fromhex(content.public_key), bytes.fromhex(content.signature)
    except (msgspec.DecodeError, ValueError) as error:
        raise BundleError(f"{where}/{SIGNATURE} is not a signature: {error}; sign the bundle again") from error
    if len(public) != 32 or len(proof) != 64:
        raise BundleError(f"{where}/{SIGNATURE} is not a signature: wrong lengths; sign the bundle again")
    key = fingerprint(public)
    if trusted is not None and public != trusted:
        raise BundleError(
            f"{where} is signed with another key ({key}) than --trusted-key {trusted_key} ({fingerprint(trusted)}): "
            "nothing was executed"
        )
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return Signer(key, checked=False, trusted=False)
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(proof, CONTEXT + manifest)
    except (InvalidSignature, ValueError):
        raise BundleError(
            f"{where}: its signature by {key} is not one of this manifest: it was changed after it was signed, or the "
            "signature was taken from another bundle; nothing was executed"
        ) from None
    return Signer(key, checked=True, trusted=trusted is not None)


def sign_manifest(manifest: bytes, key: Ed25519PrivateKey) -> bytes:
    """signature.json for a manifest."""
    content = SignatureFile("ed25519", raw_public_key(key.public_key()).hex(), key.sign(CONTEXT + manifest).hex())
    return json_bytes(content)


def fingerprint(public_key: bytes) -> str:
    """How a key is named: "sha256:" and the SHA-256 of its DER form (SubjectPublicKeyInfo), as
    `openssl pkey -pubin -in PUBLIC -outform DER | sha256sum` prints it."""
    prefix = bytes.fromhex("302a300506032b6570032100")  # of every Ed25519 key, RFC 8410
    return f"sha256:{hashlib.sha256(prefix + public_key).hexdigest()}"


def read_public_key(path: str | os.PathLike[str]) -> bytes:
    """The 32 bytes of an Ed25519 public key from a file in PEM or OpenSSH form.

    Raises:
        ProtoleakError: it cannot be read, is another kind of key, or a private one.
        MissingExtra: `cryptography` is not installed.
    """
    data = _read(path, "--trusted-key")
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_public_key
    except ImportError:
        raise MissingExtra("cryptography", "sign") from None
    if b"PRIVATE KEY" in data:
        raise ProtoleakError(f"--trusted-key {path} is a private key: give the public one, such as {path}.pub")
    if (keys := len(KEY_BEGINS.findall(data))) > 1:
        raise ProtoleakError(f"--trusted-key {path} holds {keys} keys, and one is trusted: give a file with that alone")
    try:
        found: object = load_ssh_public_key(data) if data.startswith(b"ssh-") else load_pem_public_key(data)
    except Exception as error:  # its exceptions share no base class
        raise ProtoleakError(f"--trusted-key {path} is not a public key in PEM or OpenSSH form: {NEW_KEY}") from error
    if not isinstance(found, Ed25519PublicKey):
        raise ProtoleakError(f"--trusted-key {path} is not an Ed25519 key: {NEW_KEY}")
    return raw_public_key(found)


def read_private_key(path: Path, passphrase: Callable[[], str]) -> Ed25519PrivateKey:
    """An Ed25519 private key from a file in PEM or OpenSSH form.

    Args:
        passphrase: asked for it where the key is encrypted.

    Raises:
        ProtoleakError: it cannot be read, is another kind of key, or the passphrase is wrong.
        MissingExtra: `cryptography` is not installed.
    """
    data = _read(path, "--key")
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key
    except ImportError:
        raise MissingExtra("cryptography", "sign") from None
    load = load_ssh_private_key if b"OPENSSH PRIVATE KEY" in data else load_pem_private_key
    try:
        try:
            found: object = load(data, None)
        except TypeError:  # it is encrypted
            found = load(data, passphrase().encode())
    except ProtoleakError:
        raise
    except Exception as error:  # its exceptions share no base class
        raise ProtoleakError(
            f"--key {path} is not a private key in PEM or OpenSSH form, or the passphrase is wrong: {NEW_KEY}"
        ) from error
    if not isinstance(found, Ed25519PrivateKey):
        raise ProtoleakError(f"--key {path} is not an Ed25519 key: {NEW_KEY}")
    return found


def is_private(path: Path) -> bool:
    """Whether a key's file can be read by nobody but its owner, and root; True where the system doesn't say."""
    return not hasattr(os, "getuid") or not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def new_key(path: Path) -> str:
    """Writes a new private key to `path`, for its owner alone, and its public key to `path`.pub, both in PEM form;
    returns the fingerprint.

    Raises:
        ProtoleakError: one of the two is there already, or cannot be written.
        MissingExtra: `cryptography` is not installed.
    """
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        raise MissingExtra("cryptography", "sign") from None
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    public_path = path.with_name(f"{path.name}.pub")
    if public_path.exists():
        raise ProtoleakError(f"--new-key {path}: {public_path} is there already: choose another name")
    try:
        for file, data, mode in ((path, private, 0o600), (public_path, public, 0o644)):
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
                out.write(data)
    except FileExistsError as error:
        raise ProtoleakError(f"--new-key {path}: {error.filename} is there already: choose another name") from error
    except OSError as error:
        raise ProtoleakError(f"--new-key {path} cannot be written: {error.strerror or error}") from error
    return fingerprint(raw_public_key(key.public_key()))


def raw_public_key(key: Ed25519PublicKey) -> bytes:
    """Its 32 bytes."""
    from cryptography.hazmat.primitives import serialization

    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _read(path: str | os.PathLike[str], option: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(MAXIMUM_KEY_BYTES)
    except OSError as error:
        raise ProtoleakError(f"{option} {os.fspath(path)} cannot be read: {error.strerror or error}") from error
