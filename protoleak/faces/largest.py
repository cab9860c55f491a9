"""The face that an image is judged by, where it is judged by one: the largest."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from protoleak.choices import FACE_SCORE, MINIMUM_FACE
from protoleak.errors import MediaError, ProtoleakError
from protoleak.faces.base import Face, FaceDetector
from protoleak.faces.yunet import YuNetDetector, read_yunet
from protoleak.images.resize import RgbImage

_of_thread = threading.local()  # detectors are for one thread each


@dataclass(frozen=True)
class LargestFace:
    """Finds the largest face of an image. It can be sent to other processes, and used in several threads.

    Attributes:
        model: a YuNet ONNX file.
    """

    model: Path

    @property
    def sha256(self) -> str:
        """Of the model's file. Raises ProtoleakError where it cannot be read."""
        return _sha256(self.model)

    def __call__(self, image: RgbImage) -> Face:
        """The face in uint8 [H, W, 3] in RGB order, or in a Pillow image of mode RGB; upright.

        Raises:
            MediaError: there is no face.
            ProtoleakError: the model is none.
        """
        detectors: dict[Path, FaceDetector] = _of_thread.__dict__.setdefault("detectors", {})
        if self.model not in detectors:
            model = read_yunet(self.model, "the face detector")
            detectors[self.model] = YuNetDetector(model, str(self.model), score=FACE_SCORE, minimum_face=MINIMUM_FACE)
        faces = detectors[self.model](np.asarray(image))
        if not faces:
            raise MediaError(f"no face of {MINIMUM_FACE} pixels or more was found")
        return max(faces, key=lambda face: face.box.area)


@lru_cache
def _sha256(model: Path) -> str:
    try:
        return hashlib.sha256(model.read_bytes()).hexdigest()
    except OSError as error:
        raise ProtoleakError(f"{model}: cannot be read: {error.strerror or error}") from error
