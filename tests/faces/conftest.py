"""The YuNet model and frames with a face."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from protoleak.bundle.bundle import DEFAULT_BUNDLE
from protoleak.bundle.reader import FACE_DETECTOR

SPEAKER_FROM, SPEAKER_TO = 82, 211  # the clip is cut: before it another person fills the frame, and after it others


@pytest.fixture(scope="session")
def yunet_file() -> Path:
    return DEFAULT_BUNDLE / FACE_DETECTOR


@pytest.fixture(scope="session")
def clip_frames(shared: Path) -> list[np.ndarray]:
    """Every tenth frame of the shot that shows the speaker: uint8 [360, 640, 3] RGB."""
    capture = cv2.VideoCapture(str(shared / "data" / "video" / "short_hamilton_clip.mp4"))
    frames: list[np.ndarray] = []
    while True:
        read, image = capture.read()
        if not read:
            break
        frames.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    capture.release()
    if not frames:
        pytest.skip("there is no clip in the shared data folder")
    return frames[SPEAKER_FROM:SPEAKER_TO:10]
