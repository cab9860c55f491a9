"""Where the repository and the data beside it lie."""

from __future__ import annotations

from tests.paths import ROOT

EXAMPLES = ROOT / "examples"
SHARED = ROOT.parent / "shared"
