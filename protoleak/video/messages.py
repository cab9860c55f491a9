"""What the threads of the pipeline hand to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from protoleak.arrays import UInt8Array
from protoleak.errors import EngineError, MediaError
from protoleak.faces.base import Box, Face
from protoleak.runtime.verdict import Verdict
from protoleak.video.frames import Frame, Gap


@dataclass(frozen=True)
class End:
    """The sentinel: nothing comes after it."""


@dataclass(frozen=True)
class Failed:
    """The source, or one face, could not be read or judged; one line.

    Attributes:
        timestamp: of the newest frame, in seconds; None before the first.
    """

    message: str
    timestamp: float | None


@dataclass(frozen=True)
class Broken:
    """A thread met an error that the caller has to see; it is raised where the caller iterates."""

    error: BaseException


@dataclass(frozen=True)
class DueFace:
    """A face that is to be attributed.

    Attributes:
        frame: it is in.
        crop: uint8 [side, side, 3] RGB, the square around the face at the frame's own resolution.
        sharpness: see `FaceEvent.sharpness`.
    """

    track: int
    frame: Frame
    face: Face
    crop: UInt8Array
    sharpness: float


@dataclass(frozen=True)
class Looked:
    """A frame that the detector and the tracker have seen.

    Attributes:
        faces: (track, box) of every face in it.
        due: those to attribute.
        ended: tracks that no later frame continues.
    """

    frame: Frame
    faces: list[tuple[int, Box]]
    due: list[DueFace]
    ended: list[int]


@dataclass(frozen=True)
class Answered:
    """A due face and its verdict, or why it has none.

    Attributes:
        crop: uint8 [S, S, 3] RGB, as it went into the network.
    """

    due: DueFace
    crop: UInt8Array
    outcome: Verdict | MediaError | EngineError


@dataclass(frozen=True)
class Shown:
    """A frame that the sinks may see."""

    frame: Frame
    faces: list[tuple[int, Box]]


@dataclass(frozen=True)
class Over:
    """These tracks have ended, and every face of theirs that will be attributed has been."""

    tracks: list[int]


Read: TypeAlias = Frame | Gap | Failed | End
Seen: TypeAlias = Looked | Gap | Failed | Over | End
Told: TypeAlias = Answered | Shown | Over | Gap | Failed | Broken | End
