"""What all plots share: the frame of an SVG image, colours, and how numbers fall on an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH = 900  # pixels, of every plot
COLOURS = (
    "#4477aa",
    "#66ccee",
    "#228833",
    "#ccbb44",
    "#ee6677",
    "#aa3377",
    "#bbbbbb",
    "#ee8866",
    "#44bb99",
    "#994455",
)  # the first seven can be distinguished by the colour-blind too
CHARACTER = 7  # pixels, of the usual letter at the plots' size of text


def svg(height: float, parts: Sequence[str], description: str) -> str:
    """An image of WIDTH × height.

    Args:
        parts: SVG elements, in the order of drawing.
        description: plain text, read out where the image cannot be seen.
    """
    body = "\n".join(parts)
    return (
        f'<div class="scroll"><svg viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" role="img" '
        f'aria-label="{escape(description)}">\n{body}\n</svg></div>'
    )


def colour(index: int) -> str:
    """The colour of the series of that number; they come again after the last."""
    return COLOURS[index % len(COLOURS)]


def shortened(text: str, pixels: float) -> str:
    """The text, or as much of it as fits, with "…" for the rest."""
    room = max(1, int(pixels // CHARACTER))
    return text if len(text) <= room else text[: room - 1] + "…"


def round_up(value: float) -> float:
    """To the next 1, 2, 2.5, 4, 5 or 8 times a power of ten, so that quarters of it are short numbers."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    for step in (1.0, 2.0, 2.5, 4.0, 5.0, 8.0):
        if step * power >= value:
            return step * power
    return 10.0 * power


def steps_between(start: float, end: float, most: int = 6) -> list[float]:
    """Round numbers from start to end, at most `most` + 1 of them, 1, 2, 2.5 or 5 times a power of ten apart."""
    if end <= start:
        return [start]
    power = 10.0 ** math.floor(math.log10((end - start) / most))
    apart = next(power * step for step in (1.0, 2.0, 2.5, 5.0, 10.0) if (end - start) / (power * step) <= most)
    first = math.ceil(start / apart - 1e-9)
    return [apart * number for number in range(first, math.floor(end / apart + 1e-9) + 1)]
