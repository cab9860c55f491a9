"""What judges the faces of the streams in these tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.video.scripted import SlowScreener


@pytest.fixture
def screener(tiny_bundle: Path) -> SlowScreener:
    """With the small bundle; a test may make it slow."""
    return SlowScreener(tiny_bundle, threads=1, engine="onnxruntime")
