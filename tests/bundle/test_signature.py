"""Signed bundles: a named key takes its own bundles and no others."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

import protoleak
from protoleak.bundle.bundle import Bundle
from protoleak.bundle.manifest import Manifest
from protoleak.bundle.signature import fingerprint, new_key, read_private_key, read_public_key
from protoleak.bundle.writer import sign_bundle, write_bundle
from protoleak.cli.app import main
from protoleak.errors import BundleError, ProtoleakError
from tests.paths import EXAMPLES

pytest.importorskip("cryptography", reason="it signs")
IMAGE = next(EXAMPLES.glob("images/*.png"), None) or next(EXAMPLES.glob("images/*.jpg"))


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with the keys mine and other, and their public halves."""
    for name in ("mine", "other"):
        new_key(tmp_path / name)
    return tmp_path


@pytest.fixture(params=["folder", "file.zip"])
def signed(request: pytest.FixtureRequest, tiny_files: tuple[Manifest, dict[str, bytes]], keys: Path) -> Path:
    """A bundle signed with the key mine."""
    path = keys / request.param
    write_bundle(path, *tiny_files)
    assert main(["sign", str(path), "--key", str(keys / "mine")]) == 0
    return path


def test_bundle_of_the_trusted_key_is_taken_and_its_key_is_named(signed: Path, keys: Path) -> None:
    bundle = Bundle.load(signed, trusted_key=keys / "mine.pub")
    assert bundle.signer is not None
    assert bundle.signer.trusted
    with protoleak.load(signed, trusted_key=keys / "mine.pub", engine="onnxruntime") as screener:
        verdict = screener(IMAGE)[0].to_dict()
    assert verdict["bundle"]["signer"] == {"key": bundle.signer.key, "trusted": True}


def test_without_a_named_key_the_signature_is_valid_but_not_trusted(signed: Path) -> None:
    signer = Bundle.load(signed).signer
    assert signer is not None
    assert (signer.checked, signer.trusted) == (True, False)


def test_bundle_of_another_key_is_refused(signed: Path, keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["screen", str(IMAGE), "--bundle", str(signed), "--trusted-key", str(keys / "other.pub")]) == 2
    said = capsys.readouterr().err
    assert "another key" in said
    assert said.count("\n") == 1


def test_unsigned_bundle_is_refused(tiny_bundle: Path, keys: Path) -> None:
    with pytest.raises(BundleError, match="is not signed"):
        Bundle.load(tiny_bundle, trusted_key=keys / "mine.pub")
    with pytest.raises(BundleError, match="is not signed"):
        protoleak.Screener(Bundle.load(tiny_bundle), trusted_key=keys / "mine.pub")


def test_unsigned_bundle_has_no_signer_in_its_verdicts(tiny_bundle: Path) -> None:
    with protoleak.load(tiny_bundle, engine="onnxruntime") as screener:
        assert "signer" not in screener(IMAGE)[0].to_dict()["bundle"]


@pytest.mark.parametrize("trusting", [True, False])
def test_manifest_changed_after_signing_is_refused(
    tiny_files: tuple[Manifest, dict[str, bytes]], keys: Path, trusting: bool
) -> None:
    """With right hashes: whoever changes a file can write those anew."""
    path = keys / "bundle"
    write_bundle(path, *tiny_files)
    sign_bundle(Bundle.load(path), read_private_key(keys / "mine", str))
    changed = json.loads((path / "manifest.json").read_text()) | {"name": "another"}
    (path / "manifest.json").write_text(json.dumps(changed))
    with pytest.raises(BundleError, match="not one of this manifest"):
        Bundle.load(path, trusted_key=keys / "mine.pub" if trusting else None)


def test_key_of_the_attacker_in_the_place_of_the_signers_is_not_trusted(signed: Path, keys: Path) -> None:
    assert main(["sign", str(signed), "--key", str(keys / "other"), "--overwrite"]) == 0
    with pytest.raises(BundleError, match="another key"):
        Bundle.load(signed, trusted_key=keys / "mine.pub")


def test_signature_is_only_replaced_when_asked(signed: Path, keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sign", str(signed), "--key", str(keys / "other")]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_signing_a_zip_keeps_every_file(tiny_files: tuple[Manifest, dict[str, bytes]], keys: Path) -> None:
    path = keys / "bundle.zip"
    write_bundle(path, *tiny_files)
    before = set(zipfile.ZipFile(path).namelist())
    sign_bundle(Bundle.load(path), read_private_key(keys / "mine", str))
    assert set(zipfile.ZipFile(path).namelist()) == before | {"signature.json"}


def test_inspect_names_the_key(signed: Path, keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(signed), "--trusted-key", str(keys / "mine.pub"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["signature"].endswith("the trusted key")


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_record_names_the_key_in_every_line_and_is_continued(
    signed: Path, keys: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"r{suffix}"
    command = ["screen", str(IMAGE), str(tmp_path / "missing.png"), "--bundle", str(signed), "--out", str(out)]
    command += ["--trusted-key", str(keys / "mine.pub")]
    assert main(command) == 1
    lines = out.read_text().splitlines()
    key = fingerprint(read_public_key(keys / "mine.pub"))
    assert [key in line for line in lines] == ([False] if suffix == ".csv" else []) + [True, True]
    assert main([*command, "--resume"]) == 1
    assert out.read_text().splitlines() == lines


def test_private_key_is_for_its_owner_alone_and_never_overwritten(keys: Path) -> None:
    assert (keys / "mine").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ProtoleakError, match="there already"):
        new_key(keys / "mine")


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"ssh-rsa A"]
)
def test_file_that_is_no_key_is_one_line(tiny_bundle: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ProtoleakError, match="is not a") as caught:
        Bundle.load(tiny_bundle, trusted_key=tmp_path / "key")
    assert "\n" not in str(caught.value)


def test_private_key_where_the_public_one_belongs_is_said(tiny_bundle: Path, keys: Path) -> None:
    with pytest.raises(ProtoleakError, match="private key: give the public one"):
        Bundle.load(tiny_bundle, trusted_key=keys / "mine")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the key")
def test_keys_of_openssl_are_taken_and_named_alike(
    tiny_files: tuple[Manifest, dict[str, bytes]], tmp_path: Path
) -> None:
    key, public = tmp_path / "key.pem", tmp_path / "public.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True)
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", public, "-outform", "DER"], check=True, capture_output=True
    )
    digest = subprocess.run(["openssl", "dgst", "-sha256", "-r"], input=der.stdout, check=True, capture_output=True)
    write_bundle(tmp_path / "bundle", *tiny_files)
    signer = sign_bundle(Bundle.load(tmp_path / "bundle"), read_private_key(key, str))
    assert signer.key == f"sha256:{digest.stdout.decode().split()[0]}"
    assert Bundle.load(tmp_path / "bundle", trusted_key=public).signer is not None


def test_a_file_with_two_public_keys_is_refused(keys: Path) -> None:
    both = keys / "both.pub"
    both.write_bytes((keys / "mine.pub").read_bytes() + (keys / "other.pub").read_bytes())
    with pytest.raises(ProtoleakError, match="holds 2 keys"):
        read_public_key(both)


def test_a_private_key_that_others_can_read_is_named(
    tiny_files: tuple[Manifest, dict[str, bytes]], keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bundle(keys / "bundle", *tiny_files)
    (keys / "mine").chmod(0o644)
    assert main(["sign", str(keys / "bundle"), "--key", str(keys / "mine")]) == 0
    assert "can be read by others: chmod 600" in capsys.readouterr().err
