"""Where the repository and the data beside it lie, and what the tests' own server asks for."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
SHARED = ROOT.parent / "shared"
TOKEN = "a-token-of-the-tests"
