"""How a model came to be, as it is recorded in the model and later in the bundle."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Iterable

import msgspec

LIBRARIES = ("protoleak", "torch", "torchvision", "numpy", "pillow", "onnxruntime", "diffusers", "scikit-learn")


def content_hash(lines: Iterable[str]) -> str:
    """SHA-256 (hex) of lines that name and hash files, whatever their order."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def run_hash(*parts: object) -> str:
    """SHA-256 (hex) of everything that decides what a run makes: settings, data, latent encoder."""
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()


def library_versions() -> dict[str, str]:
    """Of Python and of the installed libraries that take part in training."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def source_commit() -> str | None:
    """The commit that this package was installed from, where pip recorded one (an install from a repository)."""
    try:
        text = importlib.metadata.distribution("protoleak").read_text("direct_url.json")
        record = msgspec.json.decode(text or "{}", type=dict[str, object])
    except (importlib.metadata.PackageNotFoundError, msgspec.DecodeError):
        return None
    origin = record.get("vcs_info")
    commit = origin.get("commit_id") if isinstance(origin, dict) else None
    return commit if isinstance(commit, str) else None
