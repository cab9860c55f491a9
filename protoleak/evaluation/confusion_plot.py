"""A confusion matrix as SVG."""

from __future__ import annotations

from html import escape

from protoleak.evaluation.results import Confusion
from protoleak.reports.svg import CHARACTER, COLOURS, WIDTH, shortened, svg

LABEL, ROW, HEAD, LARGEST = 220, 26, 96, 110  # pixels
DARK = 0.55  # share of a row from which on its number is written in white


def confusion_plot(confusion: Confusion) -> str:
    """One row per folder of images, one column per verdict; each cell has its count and is shaded by its share of the
    row."""
    width = min(LARGEST, (WIDTH - LABEL) / len(confusion.columns))
    drawn = []
    for index, name in enumerate(confusion.columns):
        x = LABEL + (index + 0.5) * width
        # turned, so that long names of generators don't run into one another
        drawn.append(
            f'<text transform="translate({x:.1f},{HEAD - 8}) rotate(-35)">{escape(shortened(name, 16 * CHARACTER))}'
            f"<title>{escape(name)}</title></text>"
        )
    y = HEAD
    for name, counts in confusion.rows.items():
        middle, total = y + ROW / 2, sum(counts)
        drawn.append(
            f'<text x="{LABEL - 8}" y="{middle}" class="end middle">{escape(shortened(name, LABEL - 8))}'
            f"<title>{escape(name)}</title></text>"
        )
        for index, count in enumerate(counts):
            x = LABEL + index * width
            share = count / total if total else 0.0
            title = f"{name}: {count} of {total} called {confusion.columns[index]}"
            drawn.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width - 2:.1f}" height="{ROW - 2}" style="fill:{COLOURS[0]};'
                f'fill-opacity:{0.06 + 0.94 * share:.3f}"><title>{escape(title)}</title></rect>'
            )
            ink = ' style="fill:#ffffff"' if share >= DARK else ""
            if count:
                drawn.append(
                    f'<text x="{x + width / 2 - 1:.1f}" y="{middle}" class="centre middle"{ink}>{count}</text>'
                )
        y += ROW
    return svg(y + 10, drawn, "Confusion matrix: folders of images by verdicts")
