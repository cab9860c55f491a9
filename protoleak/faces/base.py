"""What a face detector gives, and the size at which detectors work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import msgspec
import numpy as np

from protoleak.arrays import UInt8Array
from protoleak.images.framing import Box

# Faces of 48 pixels are 24 pixels high here when the frame is 1280 wide: YuNet still finds
# them all (tests/faces/test_yunet.py), for a quarter of the pixels.
DETECTION_SIDE = 640
FOUND_SIDE = 24  # pixels of a face that is found, see above
SURE_SIDE = 32  # pixels with which the least face of all, by default, is looked for in frames no larger than that


class BoxRecord(msgspec.Struct, frozen=True):
    """A face's box in JSON: in pixels of the upright image or frame, without margin."""

    left: float
    top: float
    width: float
    height: float

    @classmethod
    def of(cls, box: Box) -> BoxRecord:
        return cls(box.left, box.top, box.width, box.height)

    def __str__(self) -> str:
        """Width, height and place, as X11 writes them: 120×150+40+60."""
        return f"{self.width:.0f}×{self.height:.0f}{self.left:+.0f}{self.top:+.0f}"


@dataclass(frozen=True)
class Face:
    """One detection.

    Attributes:
        box: around the face itself, without margin.
        score: the detector's own confidence; in [0, 1] for YuNet, 1 where a detector has none.
        landmarks: x and y of the right eye, the left eye, the tip of the nose, and the right and left corner of the
            mouth, as seen on the person; None where a detector has none.
    """

    box: Box
    score: float
    landmarks: tuple[tuple[float, float], ...] | None = None


class FaceDetector(Protocol):
    """Finds faces in one image or frame at a time. Not for use from several threads at once.

    Attributes:
        description: one line for people: which detector, which model file, its SHA-256.
    """

    description: str

    def __call__(self, image: UInt8Array) -> list[Face]:
        """Faces in uint8 [H, W, 3] RGB, by falling score."""
        ...


@runtime_checkable
class ThriftyDetector(FaceDetector, Protocol):
    """A detector that can do with less."""

    def thrifty(self, side: int) -> FaceDetector:
        """One that looks at no more pixels than the smallest wanted face needs. Its boxes are a little coarser.

        Args:
            side: pixels that such a face has to have: FOUND_SIDE for live sources, whose number is what processors
                limit; with SURE_SIDE nothing is spared unless a larger face is asked for than by default.
        """
        ...


def reduced(image: UInt8Array, longest: int) -> tuple[UInt8Array, float]:
    """The image with its longer side at most `longest` pixels, so that the cost of detection is bounded.

    Args:
        image: uint8 [H, W, 3].

    Returns:
        The smaller image, and by what it was scaled: 1 where it was left alone.
    """
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return image, 1.0
    import cv2  # where it is used: engines are opened while it is imported

    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False), scale
