"""`protoleak sign`: signs a bundle, or makes the key for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from protoleak.cli.console import say
from protoleak.errors import ProtoleakError


def sign(
    bundle: Annotated[str | None, typer.Argument(help="Bundle directory or .zip, signed where it is.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="File with an Ed25519 private key, PEM or OpenSSH.")] = None,
    new_key: Annotated[
        Path | None,
        typer.Option("--new-key", help="Write a new private key into this file, and its public key into FILE.pub."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the signature of a bundle that has one.")
    ] = False,
) -> None:
    """Sign a bundle, so that others can tell with --trusted-key that it is yours and unchanged."""
    from protoleak.bundle.bundle import Bundle
    from protoleak.bundle.signature import is_private, read_private_key
    from protoleak.bundle.signature import new_key as make_key
    from protoleak.bundle.writer import sign_bundle

    if new_key is not None:
        if bundle is not None or key is not None:
            raise ProtoleakError("--new-key only makes a key: sign with it afterwards, with BUNDLE and --key")
        name = make_key(new_key)
        say(f"{new_key} holds the private key, keep it secret; {new_key}.pub the public one: {name}")
        return
    if bundle is None or key is None:
        raise ProtoleakError("give BUNDLE and --key KEY to sign, or --new-key KEY to make a key")
    private = read_private_key(key, lambda: ask_passphrase(key))
    if not is_private(key):
        say(f"note: --key {key} can be read by others: chmod 600 {key}", to_errors=True)
    opened = Bundle.load(bundle)
    if opened.signer is not None and not overwrite:
        raise ProtoleakError(f"{bundle} is signed already, with {opened.signer.key}: --overwrite replaces that")
    signer = sign_bundle(opened, private)
    say(f"signed {opened.manifest.name} (SHA-256 {opened.sha256}) with {signer.key}")


def ask_passphrase(key: Path) -> str:
    """From the terminal, for an encrypted key. Raises ProtoleakError where there is no terminal."""
    if not sys.stdin.isatty():
        raise ProtoleakError(f"--key {key} is encrypted and there is no terminal to ask for its passphrase")
    answer: str = typer.prompt(f"passphrase of {key}", hide_input=True, err=True)
    return answer
