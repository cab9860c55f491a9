"""Lines and points over an axis, as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from protoleak.reports.svg import CHARACTER, COLOURS, WIDTH, colour, round_up, shortened, steps_between, svg

LEFT, TOP, BOTTOM, LEGEND = 70, 30, 44, 250  # pixels
Shape = Literal["none", "circle", "square", "triangle", "diamond"]


@dataclass(frozen=True)
class Series:
    """What is drawn under one name.

    Attributes:
        name: for the legend.
        points: x and y, in the order in which they are joined.
        joined: whether there is a line.
        shape: of the points.
        colour: any CSS colour; None for the next of COLOURS.
        dashed: to distinguish it from another line of nearly the same colour.
    """

    name: str
    points: Sequence[tuple[float, float]]
    joined: bool = True
    shape: Shape = "none"
    colour: str | None = None
    dashed: bool = False


@dataclass(frozen=True)
class Axis:
    """One direction of a plot.

    Attributes:
        title: with the unit.
        scale: of "log2" and "log10" all values must be > 0.
        start, end: None for what the series need, which for a linear axis begins at 0 if nothing is below.
        ticks: where numbers stand; None for round ones.
        shown: a number as text.
    """

    title: str
    scale: Literal["linear", "log2", "log10"] = "linear"
    start: float | None = None
    end: float | None = None
    ticks: Sequence[float] | None = None
    shown: Callable[[float], str] = "{:.4g}".format

    def around(self, values: Sequence[float]) -> tuple[float, float]:
        """Where it starts and ends for these values."""
        start, end = self.start, self.end
        if self.scale == "linear":
            start = min(0.0, *values) if start is None else start
            end = round_up(max(values)) if end is None and max(values) > 0 else end
        start = min(values) if start is None else start
        end = max(values) if end is None else end
        return (start, end) if end > start else (start, start + 1.0 if self.scale == "linear" else 2.0 * start)

    def numbers(self, start: float, end: float) -> list[float]:
        """Where numbers stand between start and end."""
        if self.ticks is not None:
            return [tick for tick in self.ticks if start <= tick <= end]
        if self.scale == "linear":
            return steps_between(start, end)
        base = 2.0 if self.scale == "log2" else 10.0
        first, last = math.ceil(math.log(start, base) - 1e-9), math.floor(math.log(end, base) + 1e-9)
        return [base**power for power in range(first, last + 1)]

    def share(self, value: float, start: float, end: float) -> float:
        """How far along the axis a value lies, 0 at the start and 1 at the end."""
        if self.scale == "linear":
            return (value - start) / (end - start)
        return math.log(value / start) / math.log(end / start)


@dataclass(frozen=True)
class Rule:
    """A dashed line at one value of the vertical axis, and what it stands for."""

    value: float
    text: str


@dataclass(frozen=True)
class Band:
    """A stretch of the horizontal axis that is shaded, and why."""

    start: float
    end: float
    text: str


def line_plot(
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    description: str,
    *,
    rules: Sequence[Rule] = (),
    bands: Sequence[Band] = (),
    height: int = 320,
) -> str:
    """All series in one plot, with a legend beside it.

    Args:
        description: for those who cannot see the plot.
        height: in pixels; more where the legend needs it.

    Returns:
        SVG, or nothing where there are no points.
    """
    points = [point for one in series for point in one.points]
    if not points:
        return ""
    start_x, end_x = x.around([point[0] for point in points])
    start_y, end_y = y.around([*(point[1] for point in points), *(rule.value for rule in rules)])
    end = WIDTH - LEGEND
    floor = height - BOTTOM

    def place_x(value: float) -> float:
        return LEFT + 10 + min(max(x.share(value, start_x, end_x), 0.0), 1.0) * (end - LEFT - 20)

    def place_y(value: float) -> float:
        return floor - min(max(y.share(value, start_y, end_y), 0.0), 1.0) * (floor - TOP)

    drawn = [f'<text x="4" y="14" class="weak">{escape(y.title)}</text>']
    for band in bands:
        left, right = place_x(band.start), place_x(band.end)
        drawn.append(
            f'<rect x="{left:.1f}" y="{TOP}" width="{max(right - left, 2):.1f}" height="{floor - TOP}" class="band">'
            f"<title>{escape(band.text)}</title></rect>"
        )
    for number in y.numbers(start_y, end_y):
        at = place_y(number)
        drawn.append(f'<line x1="{LEFT}" x2="{end}" y1="{at:.1f}" y2="{at:.1f}" class="grid"/>')
        drawn.append(f'<text x="{LEFT - 6}" y="{at:.1f}" class="end middle">{escape(y.shown(number))}</text>')
    for number in x.numbers(start_x, end_x):
        drawn.append(
            f'<text x="{place_x(number):.1f}" y="{floor + 18}" class="centre">{escape(x.shown(number))}</text>'
        )
    drawn.append(f'<text x="{(LEFT + end) / 2}" y="{height - 6}" class="centre weak">{escape(x.title)}</text>')
    for rule in rules:
        at = place_y(rule.value)
        drawn.append(f'<line x1="{LEFT}" x2="{end}" y1="{at:.1f}" y2="{at:.1f}" class="rule"/>')
        drawn.append(f'<text x="{end + 16}" y="{at:.1f}" class="middle weak">{escape(rule.text)}</text>')
    taken = [place_y(rule.value) for rule in rules]
    legend = TOP
    for index, one in enumerate(series):
        paint = one.colour or colour(index)
        places = [(place_x(a), place_y(b), a, b) for a, b in one.points]
        dashes = ";stroke-dasharray:6 4" if one.dashed or (one.colour is None and index >= len(COLOURS)) else ""
        if one.joined and len(places) > 1:
            path = " ".join(f"{a:.1f},{b:.1f}" for a, b, _, _ in places)
            drawn.append(f'<polyline points="{path}" style="fill:none;stroke:{paint};stroke-width:2{dashes}"/>')
        for a, b, given_x, given_y in places:
            if one.shape != "none":
                title = f"{one.name}, {x.shown(given_x)}: {given_y:.4g}"
                drawn.append(_point(one.shape, a, b, paint, title))
        while any(abs(legend - at) < 16 for at in taken):
            legend += 4
        drawn += _key(one, paint, dashes, end + 16, legend)
        legend += 20
    return svg(max(height, legend + 10), drawn, description)


def _key(one: Series, paint: str, dashes: str, x: float, y: float) -> list[str]:
    mark = _point(one.shape, x + 9, y, paint, one.name) if one.shape != "none" else ""
    line = ""
    if one.joined:
        line = f'<line x1="{x}" x2="{x + 18}" y1="{y}" y2="{y}" style="stroke:{paint};stroke-width:2{dashes}"/>'
    room = WIDTH - x - 24
    text = f'<text x="{x + 24}" y="{y}" class="middle">{escape(shortened(one.name, room))}'
    return [
        line,
        mark,
        text + (f"<title>{escape(one.name)}</title>" if len(one.name) * CHARACTER > room else ""),
        "</text>",
    ]


def _point(shape: Shape, x: float, y: float, paint: str, title: str) -> str:
    inside = f'style="fill:{paint}"><title>{escape(title)}</title>'
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" {inside}</circle>'
    if shape == "square":
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" {inside}</rect>'
    corners = [(0, -5.5), (5, 4), (-5, 4)] if shape == "triangle" else [(0, -5.5), (5.5, 0), (0, 5.5), (-5.5, 0)]
    path = " ".join(f"{x + right:.1f},{y + down:.1f}" for right, down in corners)
    return f'<polygon points="{path}" {inside}</polygon>'
