"""The ways to look for faces that the benchmarks of video compare; see docs/decisions/0032."""

from __future__ import annotations

from dataclasses import replace

from protoleak.faces.base import FaceDetector
from protoleak.faces.yunet import YuNetDetector
from protoleak.faces.yunet_network import OpenCvNetwork
from protoleak.screener import Screener
from protoleak.video.settings import StreamSettings

BEFORE, EVERY, NOW = "every frame, OpenCV", "every frame", "default"


def detection_ways(
    screener: Screener, settings: StreamSettings, detector: FaceDetector
) -> dict[str, tuple[FaceDetector, StreamSettings]]:
    """BEFORE, EVERY and NOW, each with its detector and its settings.

    Args:
        settings: that ask for YuNet, or for what a bundle with YuNet is screened with.
        detector: which those settings give.
    """
    every_frame = replace(settings, detect_every=0.0)
    return {
        BEFORE: (detector_in_opencv(screener, settings), every_frame),
        EVERY: (detector, every_frame),
        NOW: (detector, settings),
    }


def detector_in_opencv(screener: Screener, settings: StreamSettings) -> FaceDetector:
    """YuNet as OpenCV runs it."""
    model = settings.face_model.read_bytes() if settings.face_model else screener.bundle.face_detector
    if model is None:
        raise SystemExit(f"the bundle {screener.bundle.manifest.name} has no face detector: give --face-model FILE")
    return YuNetDetector(
        model, "YuNet", score=settings.face_score, minimum_face=settings.minimum_face, opening=OpenCvNetwork
    )
