"""Bar plots as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from protoleak.reports.svg import CHARACTER, WIDTH, colour, shortened, svg

LABEL, BAR, GAP, VALUE, SIGNED_VALUE = 210, 20, 9, 150, 80  # pixels


def stacked_bars(
    rows: Sequence[tuple[str, Mapping[str, float], str]], parts: Sequence[str], unit: str, description: str
) -> str:
    """One horizontal bar per row, divided into parts.

    Args:
        rows: name, part → value, and the text behind the bar.
        parts: in the order of drawing; each keeps its colour. Those that no row has are left out of the legend.
        unit: of the values.
        description: for those who cannot see the plot.
    """
    longest = max((sum(values.values()) for _, values, _ in rows), default=0.0) or 1.0
    scale = (WIDTH - LABEL - VALUE) / longest
    key, y = _legend(parts, {part for _, values, _ in rows for part, value in values.items() if value > 0})
    drawn = []
    for name, values, text in rows:
        x = float(LABEL)
        middle = y + BAR / 2
        drawn.append(
            f'<text x="{LABEL - 8}" y="{middle}" class="end middle">{escape(shortened(name, LABEL - 8))}'
            f"<title>{escape(name)}</title></text>"
        )
        for index, part in enumerate(parts):
            width = values.get(part, 0.0) * scale
            if width > 0:
                title = f"{name}: {_shown(part)} {values[part]:.3g} {unit}"
                drawn.append(
                    f'<rect x="{x:.2f}" y="{y}" width="{width:.2f}" height="{BAR}" fill="{colour(index)}">'
                    f"<title>{escape(title)}</title></rect>"
                )
                x += width
        drawn.append(f'<text x="{x + 6:.2f}" y="{middle}" class="middle">{escape(text)}</text>')
        y += BAR + GAP
    return svg(y, [*key, *drawn], description)


def bars(rows: Sequence[tuple[str, float, str]], unit: str, description: str) -> str:
    """One horizontal bar per row, to the right of a common line for values above 0 and to its left below.

    Args:
        rows: name, value, and the text behind the bar.
        unit: of the values.
        description: for those who cannot see the plot.
    """
    values = [value for _, value, _ in rows]
    highest, lowest = max([0.0, *values]), min([0.0, *values])
    left = LABEL + (SIGNED_VALUE if lowest < 0 else 0)
    scale = (WIDTH - left - VALUE) / ((highest - lowest) or 1.0)
    zero = left - lowest * scale
    drawn, y = [], 6
    for name, value, text in rows:
        middle = y + BAR / 2
        start, width = min(zero, zero + value * scale), abs(value) * scale
        title = escape(f"{name}: {value:.3g} {unit}".strip())
        after, anchor = (zero + value * scale + 6, "") if value >= 0 else (start - 6, " end")
        drawn += [
            f'<text x="{LABEL - 8}" y="{middle}" class="end middle">{escape(shortened(name, LABEL - 8))}'
            f"<title>{escape(name)}</title></text>",
            f'<rect x="{start:.2f}" y="{y}" width="{width:.2f}" height="{BAR}" fill="{colour(0 if value >= 0 else 4)}">'
            f"<title>{title}</title></rect>",
            f'<text x="{after:.2f}" y="{middle}" class="middle{anchor}">{escape(text)}</text>',
        ]
        y += BAR + GAP
    drawn.append(f'<line x1="{zero:.2f}" x2="{zero:.2f}" y1="2" y2="{y - 5}" class="rule"/>')
    return svg(y, drawn, description)


def _legend(parts: Sequence[str], used: set[str]) -> tuple[list[str], int]:
    """Its elements, and where the first bar can begin."""
    key, x, y = [], LABEL, 6
    for index, part in enumerate(parts):
        if part not in used:
            continue
        width = 34 + CHARACTER * len(part)
        if x + width > WIDTH and x > LABEL:
            x, y = LABEL, y + 20
        key.append(f'<rect x="{x}" y="{y}" width="11" height="11" fill="{colour(index)}"/>')
        key.append(f'<text x="{x + 15}" y="{y + 6}" class="middle">{escape(_shown(part))}</text>')
        x += width
    return key, y + 26


def _shown(part: str) -> str:
    return part.replace("_", " ")
