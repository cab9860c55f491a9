"""A small video for runs of the whole command line."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    pytest.importorskip("av", reason="PyAV reads and writes the videos: pip install 'protoleak[video]'")
    from tests.video.sources.media import write

    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    write(path)
    return path
