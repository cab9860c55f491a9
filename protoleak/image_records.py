"""The record of a run over images: one line for every verdict, and one for every input that has none.

docs/screen.md documents the lines; `SCHEMA` counts the changes that a reader of them must know.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from protoleak.choices import Upright
from protoleak.errors import MediaError, NoFaceError, ProtoleakError, SkippedInput
from protoleak.faces.settings import FaceSettings
from protoleak.faces.still_images import FaceVerdict
from protoleak.files import open_regular
from protoleak.images.sources import MAXIMUM_FILE_BYTES, name_in_messages, printable
from protoleak.runtime.verdict import BundleRecord, Verdict

SCHEMA = 1
HASHED_AT_ONCE = 2**20

Outcome: TypeAlias = Literal["verdict", "no_face", "error", "skipped"]
Settings: TypeAlias = dict[str, str | int | float | None]


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What two runs must have in common to stand in one file.

    Attributes:
        settings: by which faces are found, or `{"faces": "none"}` where images are judged whole.
    """

    bundle: BundleRecord
    alpha: float
    settings: Settings


@dataclass(frozen=True)
class Record:
    """What came of one image, or of one face in it.

    Attributes:
        source: as given, printable; None where no file was named.
        sha256: of the image's file; None where it was not read.
        face, faces: which face of how many, from 1 on; None where the image was judged whole, or not at all.
        reason: why there is no verdict.
    """

    outcome: Outcome
    source: str | None
    sha256: str | None
    face: int | None = None
    faces: int | None = None
    reason: str | None = None
    verdict: Verdict | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two records the same one."""
        return (self.source, self.sha256, self.outcome, self.face, self.reason)

    def to_dict(self, identity: Identity) -> dict[str, Any]:
        """One line of the file: the record's own fields first, then the verdict's, or `"verdict": null` for none."""
        own: dict[str, Any] = {
            "schema": SCHEMA,
            "outcome": self.outcome,
            "source": self.source,
            "sha256": self.sha256,
            "face": self.face,
            "faces": self.faces,
            "reason": self.reason,
        }
        if self.verdict is None:
            rest: dict[str, Any] = {
                "verdict": None,
                "alpha": identity.alpha,
                "bundle": msgspec.to_builtins(identity.bundle),
            }
        else:
            rest = {name: value for name, value in self.verdict.to_dict().items() if name != "source"}
        return own | rest | {"settings": identity.settings}


def records_of(
    source: str | ProtoleakError | None, outcomes: Sequence[Verdict | ProtoleakError], *, by_face: bool
) -> list[Record]:
    """The records of one input.

    Args:
        source: the path as given, or the error that stood in its place; None for an image from memory.
        outcomes: one for an image that was judged whole or not at all, or one per face.
        by_face: whether faces were looked for.
    """
    name = source.source if isinstance(source, ProtoleakError) else None if source is None else source_name(source)
    found = []
    for number, outcome in enumerate(outcomes, start=1):
        is_face = by_face and not isinstance(outcome, MediaError)  # which is about the image
        face, faces = (number, len(outcomes)) if is_face else (None, None)
        if isinstance(outcome, ProtoleakError):
            found.append(Record(outcome_of(outcome), name, outcome.sha256, face, faces, str(outcome)))
        else:
            found.append(Record("verdict", name, file_sha256(outcome), face, faces, verdict=outcome))
    return found


def settings_by_face(description: str, upright: Upright, settings: FaceSettings) -> Settings:
    """How faces were found, as records say it.

    Args:
        description: of the detector.
    """
    return {
        "faces": printable(description),
        "upright": upright,
        "face_score": float(settings.face_score),
        "minimum_face": settings.minimum_face,
        "margin": float(settings.margin),
    }


def settings_whole(upright: Upright) -> Settings:
    """That images were judged whole, as records say it."""
    return {"faces": "none", "upright": upright}


def source_name(source: str) -> str:
    """What the record calls an input: its path as given, printable; of an image in the name itself, the ends."""
    return name_in_messages(source) if source[:5].lower() == "data:" else printable(source)


def outcome_of(error: ProtoleakError) -> Outcome:
    """What an error comes to."""
    if isinstance(error, SkippedInput):
        return "skipped"
    return "no_face" if isinstance(error, NoFaceError) else "error"


def file_sha256(verdict: Verdict) -> str:
    """SHA-256 of the image's file, for a verdict on a face as for one on the image."""
    return verdict.image.sha256 if isinstance(verdict, FaceVerdict) else verdict.input.sha256


def sha256_of_file(path: str | os.PathLike[str]) -> str | None:
    """SHA-256 of a regular file; None where it cannot be read, or is larger than any image that is."""
    digest = hashlib.sha256()
    try:
        if not Path(path).is_file() or Path(path).stat().st_size > MAXIMUM_FILE_BYTES:
            return None
        with open_regular(path) as file:
            while part := file.read(HASHED_AT_ONCE):
                digest.update(part)
    except (OSError, ValueError):
        return None
    return digest.hexdigest()
