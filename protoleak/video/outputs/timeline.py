"""The bar at the foot of an annotated video: the verdicts over time, and where in the source one is."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from protoleak.arrays import UInt8Array
from protoleak.video.events import TrackLabel
from protoleak.video.outputs.overlay import BLACK, WHITE, fitting, paste, text_size
from protoleak.video.outputs.verdict_style import STYLES

CELLS = 600
WINDOW = 60.0  # seconds that the bar spans where the source has no known end
LONGEST_STEP = 1.0  # seconds between two frames; what is longer is a gap, and stays empty
BACKGROUND, PLATE = (38, 40, 44), (24, 25, 28)
# Besides its colour a verdict has a height, so that the bar can be read without colours.
GRAVEST_FIRST: tuple[TrackLabel, ...] = ("known", "unknown", "real", "undecided")
HEIGHTS: dict[TrackLabel, float] = {"known": 1.0, "unknown": 0.75, "real": 0.5, "undecided": 0.25}


def timecode(seconds: float) -> str:
    """Minutes and seconds, and hours where there are any: "1:03", "2:00:07"."""
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Timeline:
    """The gravest verdict of every moment, in a fixed number of cells.

    Args:
        duration: of the source in seconds; None for the last WINDOW seconds.
    """

    def __init__(self, duration: float | None) -> None:
        self._duration = duration if duration else None
        self._cells: list[TrackLabel | None] = [None] * CELLS
        self._newest = 0  # number of the newest cell since the start
        self._time = 0.0  # of the newest frame

    def add(self, timestamp: float, labels: Iterable[TrackLabel]) -> None:
        """The verdicts on a frame's faces. Timestamps never fall."""
        span = self._duration or WINDOW
        cell = int(timestamp / span * CELLS)
        if self._duration:
            cell = min(cell, CELLS - 1)
        else:
            for passed in range(self._newest + 1, min(cell, self._newest + CELLS) + 1):
                self._cells[passed % CELLS] = None
        # A frame lasts until the next: the cells between two frames belong to the later one.
        first = self._newest + 1 if timestamp - self._time <= LONGEST_STEP else cell
        self._newest, self._time = max(cell, self._newest), timestamp
        gravest = max(labels, key=lambda label: STYLES[label].weight, default=None)
        if gravest is None:
            return
        for place in range(max(min(first, cell), cell - CELLS + 1), cell + 1):
            there = self._cells[place % CELLS]
            if there is None or STYLES[gravest].weight > STYLES[there].weight:
                self._cells[place % CELLS] = gravest

    def draw(self, image: UInt8Array, timestamp: float) -> None:
        """Draws bar, place and time at the foot of uint8 [H, W, 3] RGB."""
        height, width = image.shape[:2]
        tall = min(max(8, round(height / 40)), height)
        bar = image[height - tall :]
        bar[:] = BACKGROUND
        cells = self._in_order()
        shown = np.arange(width) * CELLS // width
        for label in GRAVEST_FIRST:
            columns = np.flatnonzero(np.array([cell == label for cell in cells])[shown])
            bar[tall - max(1, round(tall * HEIGHTS[label])) :, columns] = STYLES[label].rgb
        place = 1.0 if self._duration is None else min(timestamp / self._duration, 1.0)
        at = round(place * (width - 1))
        bar[:, max(at - 2, 0) : at + 3] = BLACK
        bar[:, max(at - 1, 0) : at + 2] = WHITE
        now = timecode(timestamp)
        times = [now] if self._duration is None else [f"{now} / {timecode(self._duration)}", now]
        plate = fitting(times, text_size(height, width), PLATE, width)
        paste(image, plate, width - plate.shape[1], max(height - tall - plate.shape[0], 0))

    def _in_order(self) -> list[TrackLabel | None]:
        """The cells from the oldest to the newest."""
        if self._duration:
            return self._cells
        first = (self._newest + 1) % CELLS
        return self._cells[first:] + self._cells[:first]
