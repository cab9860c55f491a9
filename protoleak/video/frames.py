"""What every video source gives: frames with their own timestamps, and what is known of the source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np

from protoleak.arrays import UInt8Array


@dataclass(frozen=True)
class Sound:
    """Where the sound is that belongs to a source's images.

    Attributes:
        path: of the file; None where it cannot be read a second time, as of a network stream, or must not be,
            as of a file that is read in a worker process.
        start: time of the first image on the container's clock, in seconds.
    """

    path: str | None
    start: Fraction


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source before its first frame.

    Attributes:
        name: the source as the user gave it, with any password taken out.
        kind: "file", "network", "camera" or "gstreamer".
        live: frames come at their own pace and cannot be asked for again; only the newest is worth having.
        width, height: of the frames as they are shown, after rotation, in pixels; None until the first frame where
            the source doesn't say.
        rate: average frames per second; None where unknown.
        duration: seconds; None where unknown, as for every live source.
        sha256: of the file; None for anything else.
        notes: what had to be assumed or mended, such as a rotation or missing timestamps.
        sound: None where there is none.
    """

    name: str
    kind: str
    live: bool
    width: int | None
    height: int | None
    rate: Fraction | None
    duration: float | None
    sha256: str | None
    notes: tuple[str, ...] = ()
    sound: Sound | None = None


class LazyImage(Protocol):
    """A decoded image that becomes RGB when somebody asks for it: most frames of a video are looked at by nobody."""

    def rgb(self) -> UInt8Array:
        """uint8 [H, W, 3], upright, not writable; converted once. For any thread.

        Raises:
            MediaError: it cannot be converted.
        """
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, upright."""
        ...

    def overview(self) -> UInt8Array:
        """The image at no cost, for comparing it with others of its source: uint8 [h, w] luma, or [h, w, 3] RGB, maybe
        not upright."""
        ...


@dataclass(frozen=True)
class Frame:
    """One decoded image.

    Attributes:
        index: counts the source's frames from 0, dropped and damaged ones included where they can be counted.
        timestamp: seconds since the source's first frame, from the container's own clock; for a live source that has
            none, from the moment of capture.
        decoded: the image, as uint8 [H, W, 3] in RGB order, upright, or as what becomes that.
        captured: `time.monotonic()` when it was decoded, from which latency is measured.
        key: whether the codec could start here.
    """

    index: int
    timestamp: float
    decoded: UInt8Array | LazyImage
    captured: float
    key: bool = False

    @property
    def image(self) -> UInt8Array:
        """uint8 [H, W, 3] in RGB order, upright. Not to be written to: several stages look at it.

        Raises:
            MediaError: see `LazyImage.rgb`.
        """
        return self.decoded if isinstance(self.decoded, np.ndarray) else self.decoded.rgb()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image, in pixels."""
        height, width = self.decoded.shape[:2]
        return height, width

    @property
    def overview(self) -> UInt8Array:
        """See `LazyImage.overview`."""
        return self.decoded if isinstance(self.decoded, np.ndarray) else self.decoded.overview()


@dataclass(frozen=True)
class Gap:
    """A stretch without usable images: a lost connection, a stall, damaged frames.

    Attributes:
        timestamp: seconds since the source's first frame, at which it began.
        seconds: how long it lasted; None when the source ended in it.
        reason: one line.
    """

    timestamp: float
    seconds: float | None
    reason: str


class FrameSource(Protocol):
    """An opened source. Used by one thread, except for `close`."""

    @property
    def info(self) -> SourceInfo:
        """What is known of it."""
        ...

    def __iter__(self) -> Iterator[Frame | Gap]:
        """Frames in order of their timestamps, and gaps where they lay; ends with the source.

        Raises:
            MediaError: nothing more can be read; what was yielded before stands.
        """
        ...

    def close(self) -> None:
        """Ends a read that waits in another thread, and frees everything. May be called more than once."""
        ...
