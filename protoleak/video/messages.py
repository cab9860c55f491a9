"""What the threads of a stream pass to one another, from the source to the sinks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from protoleak.arrays import UInt8Array
from protoleak.errors import EngineError, MediaError
from protoleak.faces.base import Face
from protoleak.images.framing import Box
from protoleak.runtime.verdict import Verdict
from protoleak.video.frames import Frame, Gap


@dataclass(frozen=True)
class EndOfStream:
    """The sentinel: nothing comes after it."""


@dataclass(frozen=True)
class SourceFailed:
    """The source could not be read further; one line.

    Attributes:
        timestamp: of the newest frame, in seconds; None before the first.
    """

    message: str
    timestamp: float | None


@dataclass(frozen=True)
class StageError:
    """A thread met an error that the caller has to see; it is raised where the caller iterates."""

    error: BaseException


@dataclass(frozen=True)
class SampledFace:
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
class TrackedFrame:
    """A frame whose faces have been found and belong to tracks.

    Attributes:
        faces: (track, box) of every face in it.
        sampled: those to attribute.
        ended: tracks that no later frame continues.
        detected: whether the detector looked at it; otherwise its faces were followed from such frames.
    """

    frame: Frame
    faces: list[tuple[int, Box]]
    sampled: list[SampledFace]
    ended: list[int]
    detected: bool = True


@dataclass(frozen=True)
class TrackedGap:
    """A gap, and the tracks that it ends."""

    gap: Gap
    ended: list[int]


@dataclass(frozen=True)
class AttributedFace:
    """A sampled face and its verdict, or why it has none.

    Attributes:
        crop: uint8 [S, S, 3] RGB, the look at the face as it went into the network.
    """

    sampled: SampledFace
    crop: UInt8Array
    outcome: Verdict | MediaError | EngineError


@dataclass(frozen=True)
class RenderedFrame:
    """A frame with its boxes, for the sinks.

    Attributes:
        faces: (track, box) of every face in it.
        detected: see `TrackedFrame`.
    """

    frame: Frame
    faces: list[tuple[int, Box]]
    detected: bool = True


@dataclass(frozen=True)
class TracksEnded:
    """These tracks have ended, and every face of theirs that will be attributed has been."""

    tracks: list[int]


Decoded: TypeAlias = Frame | Gap | SourceFailed | EndOfStream
Tracked: TypeAlias = TrackedFrame | TrackedGap | SourceFailed | TracksEnded | EndOfStream
Attributed: TypeAlias = AttributedFace | RenderedFrame | TracksEnded | Gap | SourceFailed | StageError | EndOfStream
