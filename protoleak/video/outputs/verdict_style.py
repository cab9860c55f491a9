"""How a track's verdict looks, everywhere the same: a colour, and besides it a shape and a word."""

from __future__ import annotations

from dataclasses import dataclass

from protoleak.reports.line_plot import Shape
from protoleak.video.events import TrackLabel, TrackVerdict


@dataclass(frozen=True)
class VerdictStyle:
    """How one verdict looks.

    Attributes:
        rgb: on an image; red, green, yellow and grey as on the command line.
        light, dark: the same on light and dark paper, as CSS, with enough contrast for text.
        symbol: the same shape as a character.
        shape: of points in a plot.
        dash: pixels on and off of a box's line at a small size; None for a whole line.
        weight: which verdict a moment with several tracks shows; the gravest first.
    """

    rgb: tuple[int, int, int]
    light: str
    dark: str
    symbol: str
    shape: Shape
    dash: tuple[int, int] | None
    weight: int


STYLES: dict[TrackLabel, VerdictStyle] = {
    "known": VerdictStyle((208, 44, 44), "#b42318", "#ff8a80", "▲", "triangle", None, 3),
    "unknown": VerdictStyle((240, 196, 40), "#8a6100", "#e8b93c", "◆", "diamond", (9, 4), 2),
    "real": VerdictStyle((36, 140, 72), "#1a7340", "#5fd38a", "■", "square", None, 1),
    "undecided": VerdictStyle((128, 132, 138), "#5c6670", "#a3adb6", "●", "circle", (3, 4), 0),
}


def generator_or_label(verdict: TrackVerdict) -> str:
    """The generator where one is named, else the verdict itself."""
    return verdict.generator or verdict.label
