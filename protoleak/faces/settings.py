"""What can be set of finding and cutting out faces, in still images and in videos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from protoleak.choices import CROP_MARGIN, FACE_SCORE, MINIMUM_FACE
from protoleak.errors import SettingError

FaceFinder: TypeAlias = Literal["auto", "none", "yunet", "haar"]
FACE_FINDERS: tuple[FaceFinder, ...] = get_args(FaceFinder)


@dataclass(frozen=True)
class FaceSettings:
    """How faces are found and cut out.

    Attributes:
        faces: who finds the faces. "auto": YuNet where a model is at hand, else OpenCV's cascade; "none": every image
            is judged whole.
        face_model: a YuNet ONNX file; None for the bundle's own.
        face_score: detections below it are left out; in [0, 1].
        minimum_face: shorter side of a face's box below which it is left out, in pixels.
        margin: what a crop shows around the face, as a share of the box's longer side on every side; in [0, 4].

    Raises:
        SettingError: a value is outside its limits.
    """

    faces: FaceFinder = "auto"
    face_model: Path | None = None
    face_score: float = FACE_SCORE
    minimum_face: int = MINIMUM_FACE
    margin: float = CROP_MARGIN

    def __post_init__(self) -> None:
        if self.faces not in FACE_FINDERS:
            raise SettingError("faces", f"is {self.faces!r}: choose one of {', '.join(FACE_FINDERS)}")
        check_limit("face_score", self.face_score, 0 <= self.face_score <= 1, "in [0, 1]")
        check_limit("minimum_face", self.minimum_face, self.minimum_face >= 1, "at least 1 pixel")
        check_limit("margin", self.margin, 0 <= self.margin <= 4, "in [0, 4]")


def check_limit(name: str, value: object, holds: bool, limit: str) -> None:
    """Raises SettingError where a setting's value is outside its limit."""
    if not holds:
        given = f"{value:g}" if isinstance(value, float) else value
        raise SettingError(name, f"is {given}: it has to be {limit}")
