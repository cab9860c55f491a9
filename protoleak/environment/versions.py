"""Which software was at work: versions of libraries, and the commit of this package."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import msgspec

SOURCE = Path(__file__).resolve().parents[2]
GIT_SECONDS = 10


def library_versions(names: Iterable[str]) -> dict[str, str]:
    """Version of each of the packages that is installed, in the order of `names`."""
    from importlib import metadata  # where it is used: it takes long to import

    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # optional, or from elsewhere than pip
            continue
    return found


def source_commit() -> str | None:
    """The commit that this package is of: of the git checkout that it runs from, with "+changes" where files differ
    from it; else what pip recorded of an install from a repository; else None."""
    return commit(SOURCE) or _installed_from()


def commit(folder: Path) -> str | None:
    """The commit of the checkout whose top `folder` is, or None where it is none, as in an installed package."""
    if not (folder / ".git").exists():  # an environment inside somebody else's checkout is not ours
        return None
    revision = _git(folder, "rev-parse", "HEAD")
    if not revision:
        return None
    return revision + ("+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _installed_from() -> str | None:
    from importlib import metadata

    try:
        text = metadata.distribution("protoleak").read_text("direct_url.json")
        record = msgspec.json.decode(text or "{}", type=dict[str, object])
    except (metadata.PackageNotFoundError, msgspec.DecodeError):
        return None
    origin = record.get("vcs_info")
    revision = origin.get("commit_id") if isinstance(origin, dict) else None
    return revision if isinstance(revision, str) else None
