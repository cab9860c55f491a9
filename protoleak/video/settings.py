"""What can be set of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from protoleak.errors import ProtoleakError

FaceFinder = Literal["auto", "none", "yunet", "haar"]


@dataclass(frozen=True)
class StreamSettings:
    """How a source is screened.

    Attributes:
        faces: who finds the faces. "auto": YuNet where a model is at hand, else OpenCV's cascade; "none": every due
            frame is judged whole.
        face_model: a YuNet ONNX file; None for the bundle's own.
        face_score: detections below it are left out; in [0, 1].
        minimum_face: shorter side of a face's box below which it is left out, in pixels.
        margin: what a crop shows around the face, as a share of the box's longer side on every side.
        every: seconds between two attributions of one track.
        minimum_evidence: attributed faces before a track gets a verdict.
        max_seconds: stop after so many seconds of the source; None for its end.
        batch_size: faces that go through the screener together, at most.
    """

    faces: FaceFinder = "auto"
    face_model: Path | None = None
    face_score: float = 0.7
    minimum_face: int = 48
    margin: float = 0.25
    every: float = 1.0
    minimum_evidence: int = 3
    max_seconds: float | None = None
    batch_size: int = 4

    def __post_init__(self) -> None:
        if self.faces not in get_args(FaceFinder):
            raise ProtoleakError(f"faces {self.faces!r}: choose one of {', '.join(get_args(FaceFinder))}")
        limits = {
            "face_score": (self.face_score, 0 <= self.face_score <= 1, "in [0, 1]"),
            "minimum_face": (self.minimum_face, self.minimum_face >= 1, "at least 1 pixel"),
            "margin": (self.margin, 0 <= self.margin <= 4, "in [0, 4]"),
            "every": (self.every, self.every >= 0, "0 or more seconds"),
            "minimum_evidence": (self.minimum_evidence, self.minimum_evidence >= 1, "at least 1"),
            "max_seconds": (self.max_seconds, self.max_seconds is None or self.max_seconds > 0, "more than 0"),
            "batch_size": (self.batch_size, self.batch_size >= 1, "at least 1"),
        }
        for name, (value, right, limit) in limits.items():
            if not right:
                raise ProtoleakError(f"{name} is {value}: it has to be {limit}")
