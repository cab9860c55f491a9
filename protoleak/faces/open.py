"""Which detector finds the faces, and why."""

from __future__ import annotations

import cv2

from protoleak.arrays import UInt8Array
from protoleak.bundle.bundle import Bundle
from protoleak.errors import ProtoleakError
from protoleak.faces.base import Face, FaceDetector
from protoleak.faces.haar import HaarDetector, cascade_file
from protoleak.faces.settings import FaceSettings
from protoleak.faces.yunet import YuNetDetector, read_yunet
from protoleak.images.framing import Box, stand_in


class WholeFrame:
    """No detector: every frame is taken for an image of one face, as still images are without `--faces`.

    For a bundle that looks at faces the box is the one that stands in for a face where an image is judged whole. For
    one that doesn't it is such that the crop with its margin is the frame's centre square, which is what the network
    sees of an image without faces.

    Args:
        margin: that the crops will be made with; None for a bundle that looks at faces.
    """

    description = "no face detector: the middle of every frame is judged"

    def __init__(self, margin: float | None) -> None:
        self._margin = margin

    def __call__(self, image: UInt8Array) -> list[Face]:
        """One face in uint8 [H, W, 3], of score 1."""
        height, width = image.shape[:2]
        if self._margin is None:
            return [Face(stand_in(width, height), 1.0)]
        side = min(height, width) / (1 + 2 * self._margin)
        return [Face(Box((width - side) / 2, (height - side) / 2, side, side), 1.0)]


def open_detector(settings: FaceSettings, bundle: Bundle | None) -> FaceDetector:
    """The detector that the settings ask for; its `description` says which it is, and where "auto" took it from.

    "auto" takes YuNet where there is a model (the file that was named, else the bundle's own), else OpenCV's cascade.
    It never judges whole frames unasked: a verdict on a living room is none on a face.

    Args:
        bundle: that may hold a model.

    Raises:
        ProtoleakError: there is no such detector here, or its model file is not one.
    """
    if settings.faces in ("none", "haar") and settings.face_model is not None:
        raise ProtoleakError(f"--face-model is a YuNet model and --faces {settings.faces} uses none: leave one out")
    if settings.faces == "none":
        needs_face = bundle is not None and bundle.manifest.preprocessing.framing.needs_face
        return WholeFrame(None if needs_face else settings.margin)
    if settings.faces == "haar":
        return HaarDetector(settings.minimum_face)
    if settings.face_model is not None:
        return _yunet(read_yunet(settings.face_model, "--face-model"), str(settings.face_model), settings)
    if bundle is not None and bundle.face_detector is not None:
        name = f"the model in the bundle {bundle.manifest.name}"
        return _yunet(bundle.face_detector, name, settings, checked=True)
    if settings.faces == "yunet":
        raise ProtoleakError(
            "--faces yunet needs a model and the bundle holds none: give --face-model FILE, or export the bundle with "
            "--face-detector FILE"
        )
    if cascade_file() is None:
        raise ProtoleakError(
            f"no face detector: the bundle holds no YuNet model and OpenCV {cv2.__version__} no cascade: give "
            "--face-model FILE (YuNet), or --faces none to judge whole frames"
        )
    detector = HaarDetector(settings.minimum_face)
    detector.description += ": there is no YuNet model (--face-model FILE gives one)"
    return detector


def _yunet(model: bytes, name: str, settings: FaceSettings, *, checked: bool = False) -> YuNetDetector:
    return YuNetDetector(model, name, score=settings.face_score, minimum_face=settings.minimum_face, checked=checked)
