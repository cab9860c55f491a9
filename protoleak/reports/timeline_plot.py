"""What was there when, as SVG: one row per thing, over a common time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from protoleak.reports.bar_plot import BAR, GAP, LABEL
from protoleak.reports.line_plot import Axis, Band
from protoleak.reports.svg import WIDTH, shortened, svg

VALUE = 190  # pixels, for the text behind


@dataclass(frozen=True)
class Span:
    """One row.

    Attributes:
        name: before it.
        start, end: on the axis.
        colour: any CSS colour.
        text: behind it.
    """

    name: str
    start: float
    end: float
    colour: str
    text: str


def spans(rows: Sequence[Span], axis: Axis, description: str, bands: Sequence[Band] = ()) -> str:
    """All rows under one another, and what is shaded behind them.

    Args:
        axis: of the time.
        description: for those who cannot see the plot.
    """
    start, end = axis.around([*(row.start for row in rows), *(row.end for row in rows), *(band.end for band in bands)])
    right = WIDTH - VALUE

    def place(value: float) -> float:
        return LABEL + min(max(axis.share(value, start, end), 0.0), 1.0) * (right - LABEL)

    floor = 8 + len(rows) * (BAR + GAP)
    drawn = []
    for number in axis.numbers(start, end):
        x = place(number)
        drawn.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="2" y2="{floor}" class="grid"/>')
        drawn.append(f'<text x="{x:.1f}" y="{floor + 16}" class="centre">{escape(axis.shown(number))}</text>')
    for band in bands:
        x, width = place(band.start), max(place(band.end) - place(band.start), 2.0)
        drawn.append(
            f'<rect x="{x:.1f}" y="2" width="{width:.1f}" height="{floor - 2}" class="band">'
            f"<title>{escape(band.text)}</title></rect>"
        )
    y = 8
    for row in rows:
        x, middle = place(row.start), y + BAR / 2
        drawn.append(
            f'<text x="{LABEL - 8}" y="{middle}" class="end middle">{escape(shortened(row.name, LABEL - 8))}</text>'
        )
        drawn.append(
            f'<rect x="{x:.1f}" y="{y}" width="{max(place(row.end) - x, 3.0):.1f}" height="{BAR}" rx="3" '
            f'style="fill:{row.colour}"><title>{escape(f"{row.name}: {row.text}")}</title></rect>'
        )
        drawn.append(
            f'<text x="{right + 8}" y="{middle}" class="middle">{escape(shortened(row.text, VALUE - 8))}'
            f"<title>{escape(row.text)}</title></text>"
        )
        y += BAR + GAP
    drawn.append(f'<text x="{(LABEL + right) / 2}" y="{floor + 36}" class="centre weak">{escape(axis.title)}</text>')
    return svg(floor + 44, drawn, description)
