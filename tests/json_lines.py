"""JSON Lines, as `screen` writes them, read by the standard library's parser alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The object on each line of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
