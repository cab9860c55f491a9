"""What a face detector gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from protoleak.arrays import UInt8Array


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the frame; it may reach over the border.

    Attributes:
        left, top: of its first pixel.
        width, height: > 0.
    """

    left: float
    top: float
    width: float
    height: float

    @property
    def area(self) -> float:
        return self.width * self.height


@dataclass(frozen=True)
class Face:
    """One detection.

    Attributes:
        box: around the face itself, without margin.
        score: the detector's own confidence; in [0, 1] for YuNet, 1 where a detector has none.
    """

    box: Box
    score: float


class FaceDetector(Protocol):
    """Finds faces in one frame at a time. Not for use from several threads at once.

    Attributes:
        description: one line for people: which detector, which model file, its SHA-256.
    """

    description: str

    def __call__(self, image: UInt8Array) -> list[Face]:
        """Faces in uint8 [H, W, 3] RGB, by falling score."""
        ...
