"""Plots as SVG text: nothing has to be loaded to see them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

LABEL, WIDTH, BAR, GAP, VALUE = 210, 900, 20, 9, 150  # pixels
LEFT, BOTTOM, HEIGHT, LEGEND = 60, 44, 320, 250
COLOURS = (
    "#4477aa",
    "#66ccee",
    "#228833",
    "#ccbb44",
    "#ee6677",
    "#aa3377",
    "#bbbbbb",
)  # told apart by colour-blind too


def stacked_bars(rows: Sequence[tuple[str, Mapping[str, float], str]], parts: Sequence[str], unit: str) -> str:
    """One horizontal bar per row, divided into parts.

    Args:
        rows: name, part → value, and the text behind the bar.
        parts: in the order of drawing; each keeps its colour.
        unit: of the values.
    """
    longest = max((sum(values.values()) for _, values, _ in rows), default=0.0) or 1.0
    scale = (WIDTH - LABEL - VALUE) / longest
    drawn, y = [], 30
    for name, values, text in rows:
        x = float(LABEL)
        middle = y + BAR / 2
        drawn.append(f'<text x="{LABEL - 8}" y="{middle}" class="end middle">{escape(name)}</text>')
        for index, part in enumerate(parts):
            width = values.get(part, 0.0) * scale
            if width > 0:
                title = f"{name}: {_shown(part)} {values[part]:.3g} {unit}"
                drawn.append(
                    f'<rect x="{x:.2f}" y="{y}" width="{width:.2f}" height="{BAR}" fill="{_colour(index)}">'
                    f"<title>{escape(title)}</title></rect>"
                )
                x += width
        drawn.append(f'<text x="{x + 6:.2f}" y="{middle}" class="middle">{escape(text)}</text>')
        y += BAR + GAP
    key, x = [], LABEL
    for index, part in enumerate(parts):
        key.append(f'<rect x="{x}" y="6" width="11" height="11" fill="{_colour(index)}"/>')
        key.append(f'<text x="{x + 15}" y="12" class="middle">{escape(_shown(part))}</text>')
        x += 30 + 7 * len(part)
    return _svg(y, [*key, *drawn])


def lines(series: Mapping[str, Mapping[int, float]], x_title: str, y_title: str) -> str:
    """Values over batch sizes, one line per name; the horizontal axis doubles from step to step.

    Args:
        series: name → batch size → value.
    """
    points = [(batch, value) for values in series.values() for batch, value in values.items()]
    if not points:
        return ""
    batches = sorted({batch for batch, _ in points})
    top = _round_up(max(value for _, value in points))
    first, last = math.log2(batches[0]), math.log2(batches[-1])

    def x_of(batch: int) -> float:
        share = 0.5 if first == last else (math.log2(batch) - first) / (last - first)
        return LEFT + 20 + share * (WIDTH - LEFT - LEGEND - 40)

    def y_of(value: float) -> float:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - 30)

    end = WIDTH - LEGEND
    drawn = [f'<text x="4" y="14">{escape(y_title)}</text>']
    for step in range(5):
        value = top * step / 4
        y = y_of(value)
        drawn.append(f'<line x1="{LEFT}" x2="{end}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        drawn.append(f'<text x="{LEFT - 6}" y="{y:.1f}" class="end middle">{value:.4g}</text>')
    for batch in batches:
        drawn.append(f'<text x="{x_of(batch):.1f}" y="{HEIGHT - BOTTOM + 18}" class="centre">{batch}</text>')
    drawn.append(f'<text x="{(LEFT + end) / 2}" y="{HEIGHT - 6}" class="centre">{escape(x_title)}</text>')
    for index, (name, values) in enumerate(series.items()):
        places = [(x_of(batch), y_of(value), batch, value) for batch, value in sorted(values.items())]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in places)
        dashes = "" if index < len(COLOURS) else ' stroke-dasharray="6 4"'
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{_colour(index)}" stroke-width="2"{dashes}/>')
        for x, y, batch, value in places:
            title = escape(f"{name}, batch {batch}: {value:.4g}")
            drawn.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{_colour(index)}"><title>{title}</title></circle>'
            )
        y = 30 + 20 * index
        drawn.append(f'<rect x="{end + 16}" y="{y - 5}" width="11" height="11" fill="{_colour(index)}"/>')
        drawn.append(f'<text x="{end + 32}" y="{y}" class="middle">{escape(name)}</text>')
    return _svg(max(HEIGHT, 40 + 20 * len(series)), drawn)


def _svg(height: float, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" role="img">\n{body}\n</svg>'


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _shown(part: str) -> str:
    return part.replace("_", " ")


def _round_up(value: float) -> float:
    """To the next 1, 2, 2.5, 4, 5 or 8 times a power of ten, so that quarters of it are short numbers."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    for step in (1.0, 2.0, 2.5, 4.0, 5.0, 8.0):
        if step * power >= value:
            return step * power
    return 10.0 * power
