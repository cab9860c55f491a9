"""A tracking stage over scripted frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from protoleak.arrays import UInt8Array
from protoleak.faces.base import Face
from protoleak.images.framing import Box
from protoleak.video.frames import Frame, Gap
from protoleak.video.messages import EndOfStream, Tracked, TrackedFrame
from protoleak.video.settings import StreamSettings
from protoleak.video.tracking.stage import TrackingStage
from tests.video.scripted import HEIGHT, RATE, WIDTH, ScriptedDetector

# Equally sharp everywhere and in every frame, so that no face is judged for being sharper.
NOISE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


@dataclass
class Followed:
    """What a stage made of a source.

    Attributes:
        messages: all of them, in order.
        detected: frames that the detector looked at, in the order of its looks.
    """

    messages: list[Tracked]
    detected: list[int]

    @property
    def frames(self) -> list[TrackedFrame]:
        return [message for message in self.messages if isinstance(message, TrackedFrame)]


def follow(
    kind: type[TrackingStage],
    script: Callable[[int], list[Face]],
    items: Sequence[int | Gap],
    rate: float = RATE,
    **settings: float,
) -> Followed:
    """Runs a stage over frames, by number, and gaps; the detector finds what the script says."""
    detector = ScriptedDetector(script)
    stage = kind(detector, StreamSettings(**settings), 64, frozenset())  # type: ignore[arg-type]
    messages: list[Tracked] = []
    for item in items:
        messages += stage.track(item if isinstance(item, Gap) else Frame(item, item / rate, numbered(item), 0.0))
    messages += stage.track(EndOfStream())
    return Followed(messages, detector.looked_at)


def at(left: float, top: float = 20.0, side: float = 40.0) -> Face:
    return Face(Box(left, top, side, side), 0.9)


def numbered(index: int) -> UInt8Array:
    """A frame that says its number to `ScriptedDetector`."""
    image = NOISE.copy()
    image[0, 0] = index % 256, index // 256, 0
    return image
