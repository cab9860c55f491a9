"""Where engines keep what they make for this machine."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$PROTOLEAK_CACHE, or ~/.cache/protoleak. It may not exist."""
    root = os.environ.get("PROTOLEAK_CACHE")
    return Path(root) if root else Path.home() / ".cache" / "protoleak"
