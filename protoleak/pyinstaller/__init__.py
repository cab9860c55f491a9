"""For PyInstaller: where its hook for this package lies."""

from __future__ import annotations

from pathlib import Path


def hook_folders() -> list[str]:
    """The folders with hooks; named in the entry points of the package."""
    return [str(Path(__file__).parent)]
