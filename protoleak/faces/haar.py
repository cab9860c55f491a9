"""OpenCV's own frontal face cascade (Viola & Jones 2001), for builds that still have it and nothing to download."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2

from protoleak.arrays import UInt8Array
from protoleak.errors import ProtoleakError
from protoleak.faces.base import DETECTION_SIDE, Box, Face, reduced

CASCADE = "haarcascade_frontalface_default.xml"
SCALE_STEP = 1.1
NEIGHBOURS = 5  # OpenCV's default of 3 takes many a sleeve for a face
MINIMUM_SIDE = 24  # the window that the cascade was trained on


def cascade_file() -> Path | None:
    """Where this OpenCV keeps the cascade; None where it was built without."""
    folder = getattr(getattr(cv2, "data", None), "haarcascades", None)
    if folder is None or not hasattr(cv2, "CascadeClassifier"):
        return None
    file = Path(folder, CASCADE)
    return file if file.is_file() else None


class HaarDetector:
    """Upright frontal faces. A cascade gives no confidence: every score is 1.

    Attributes:
        description: for people.
    """

    def __init__(self, minimum_face: int) -> None:
        """Loads the cascade.

        Args:
            minimum_face: shorter side of a box below which it is left out, in pixels of the frame.

        Raises:
            ProtoleakError: this OpenCV has none.
        """
        file = cascade_file()
        if file is None:
            raise ProtoleakError(
                f"OpenCV {cv2.__version__} was built without its face cascade: give --face-model FILE (YuNet), or "
                'pip install "opencv-python-headless<5"'
            )
        self._cascade = cv2.CascadeClassifier(str(file))  # type: ignore[attr-defined]  # gone in OpenCV 5
        if self._cascade.empty():
            raise ProtoleakError(f"{file} is not a cascade that OpenCV {cv2.__version__} can read: install it again")
        self._minimum_face = minimum_face
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        self.description = f"OpenCV's cascade {file.name}, SHA-256 {digest[:12]}…"

    def __call__(self, image: UInt8Array) -> list[Face]:
        """Faces in uint8 [H, W, 3] RGB, the largest first."""
        small, scale = reduced(image, DETECTION_SIDE)
        grey = cv2.equalizeHist(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
        least = max(MINIMUM_SIDE, int(self._minimum_face * scale))
        found = self._cascade.detectMultiScale(grey, SCALE_STEP, NEIGHBOURS, minSize=(least, least))
        boxes = [Box(*(float(value) / scale for value in row)) for row in found]
        kept = [box for box in boxes if min(box.width, box.height) >= self._minimum_face]
        return [Face(box, 1.0) for box in sorted(kept, key=lambda box: box.area, reverse=True)]
