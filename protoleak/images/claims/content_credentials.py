"""Content credentials (C2PA): signed claims, read and checked without the network."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, Literal

from protoleak.images.claims.claim import Claim, one_line
from protoleak.images.claims.metadata import origin_of

# Every manifest store is a JUMBF box of this kind; a file without it is not given to the library at all.
MARK = b"c2pa"
LARGEST_FILE = 64 * 2**20  # bytes; hashing more takes longer than a claim is worth
LONGEST_JSON = 4 * 2**20
MIME_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "GIF": "image/gif",
    "AVIF": "image/avif",
    "HEIF": "image/heif",
}
# Nothing is fetched: neither manifests that lie elsewhere, nor whether a certificate was revoked.
SETTINGS = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_reading": True}}


def content_credentials(data: bytes, format: str | None, coded: tuple[int, int] = (0, 0)) -> Iterator[Claim]:
    """Who signed the file, and which sources the actions in its active manifest name.

    A file with credentials gives at least one claim: that there are some which cannot be read is said too.

    Args:
        data: the encoded file.
        format: Pillow's name of it.
        coded: as in `read_claims`.
    """
    if format not in MIME_TYPES or len(data) > LARGEST_FILE or not _is_marked(data, *coded):
        return
    try:
        import c2pa
    except ImportError:
        yield _unread('not read: pip install "protoleak[provenance]"')
        return
    try:
        with c2pa.Context(c2pa.Settings.from_dict(SETTINGS)) as context:
            reader = c2pa.Reader.try_create(MIME_TYPES[format], io.BytesIO(data), context=context)
            if reader is None:  # the four letters stand there by chance
                return
            with reader:
                text, state = reader.json(), reader.get_validation_state()
        store = json.loads(text) if len(text) <= LONGEST_JSON else {}
    except Exception as error:  # of the library, for manifests that are damaged or of another version
        yield _unread(f"cannot be read: {type(error).__name__}")
        return
    yield from _claims(store, str(state or "Invalid"))


def _is_marked(data: bytes, begin: int, end: int) -> bool:
    """Whether the mark stands anywhere but between two places."""
    return data.find(MARK, 0, begin + len(MARK) - 1) >= 0 or data.find(MARK, max(0, end - len(MARK) + 1)) >= 0


def _unread(why: str) -> Claim:
    return Claim(standard="C2PA", origin="other", text=f"content credentials are there and {why}")


def _claims(store: dict[str, Any], state: str) -> Iterator[Claim]:
    manifest = store.get("manifests", {}).get(store.get("active_manifest"), {})
    signature: Literal["trusted", "valid", "invalid"] = "invalid"
    if state in ("Trusted", "Valid"):
        signature = "trusted" if state == "Trusted" else "valid"
    information = manifest.get("signature_info") or {}
    signer = information.get("common_name") or information.get("issuer")
    signed_by = one_line(str(signer)) if signer else None
    tool = _tool(manifest)
    found = False
    for assertion in manifest.get("assertions", []):
        if not str(assertion.get("label", "")).startswith("c2pa.actions"):
            continue
        for action in assertion.get("data", {}).get("actions", []):
            kind = str(action.get("digitalSourceType") or "").rstrip("/").rsplit("/", 1)[-1]
            if kind:
                found = True
                text = one_line(f"{action.get('action', 'made')}, DigitalSourceType {kind}{tool}")
                yield Claim(
                    standard="C2PA", origin=origin_of(kind), text=text, signed_by=signed_by, signature=signature
                )
    if not found:
        text = one_line(f"content credentials without a source type{tool}")
        yield Claim(standard="C2PA", origin="other", text=text, signed_by=signed_by, signature=signature)


def _tool(manifest: dict[str, Any]) -> str:
    """The program that made the claim."""
    for entry in manifest.get("claim_generator_info") or []:
        if isinstance(entry, dict) and entry.get("name"):
            return f", by {entry['name']}"
    generator = manifest.get("claim_generator")
    return f", by {generator}" if generator else ""
