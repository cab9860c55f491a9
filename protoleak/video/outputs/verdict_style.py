"""How a track's answer looks, everywhere the same: a colour, and besides it a shape and a word."""

from __future__ import annotations

from dataclasses import dataclass

from protoleak.reports.line_plot import Shape
from protoleak.video.events import TrackLabel, TrackVerdict


@dataclass(frozen=True)
class Look:
    """How one answer looks.

    Attributes:
        rgb: on an image; red, green, yellow and grey as on the command line.
        light, dark: the same on light and dark paper, as CSS, with enough contrast for text.
        symbol: the same shape as a character.
        shape: of points in a plot.
        dash: pixels on and off of a box's line at a small size; None for a whole line.
        weight: which answer a moment with several tracks shows; the gravest first.
    """

    rgb: tuple[int, int, int]
    light: str
    dark: str
    symbol: str
    shape: Shape
    dash: tuple[int, int] | None
    weight: int


LOOKS: dict[TrackLabel, Look] = {
    "known": Look((208, 44, 44), "#b42318", "#ff8a80", "▲", "triangle", None, 3),
    "unknown": Look((240, 196, 40), "#8a6100", "#e8b93c", "◆", "diamond", (9, 4), 2),
    "real": Look((36, 140, 72), "#1a7340", "#5fd38a", "■", "square", None, 1),
    "undecided": Look((128, 132, 138), "#5c6670", "#a3adb6", "●", "circle", (3, 4), 0),
}


def named(verdict: TrackVerdict) -> str:
    """The generator where one is named, else the verdict itself."""
    return verdict.generator or verdict.label
