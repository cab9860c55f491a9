"""Hashes of what decides how a model comes out, as they are recorded in the model and later in the bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec


def content_hash(lines: Iterable[str]) -> str:
    """SHA-256 (hex) of lines that name and hash files, whatever their order."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def run_hash(*parts: object) -> str:
    """SHA-256 (hex) of everything that decides what a run makes: settings, data, latent encoder."""
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()
