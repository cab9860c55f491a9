"""The skeleton of a report: one HTML file that needs nothing else, in light and dark, on screen and on paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

# Nothing but data URIs may be loaded, whatever a later change puts into a page.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --raised: #f6f7f9; --faint: #d5d9de;
        --weak: #5c6670; --bad: #b3261e; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --paper: #15181b; --raised: #1d2125; --faint: #3a4047; --weak: #9aa4ad; --bad: #ff8a80; }
}
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
       max-width: 1080px; padding: 0 1rem; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
.scroll { overflow-x: auto; margin: .5rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--faint); text-align: right; white-space: nowrap;
         vertical-align: top; }
th { font-weight: 600; } tbody th { font-weight: normal; }
th:first-child, td:first-child, .facts td, .facts th { text-align: left; padding-left: 0; }
caption { text-align: left; color: var(--weak); padding-bottom: .3rem; }
.facts td { white-space: normal; overflow-wrap: anywhere; padding-left: .7rem; }
.facts th { white-space: normal; min-width: 9rem; color: var(--weak); }
td.error { color: var(--bad); text-align: left; white-space: normal; }
td.text { text-align: left; white-space: normal; min-width: 12rem; }
svg { display: block; max-width: 100%; min-width: 620px; height: auto; font: 13px system-ui, sans-serif; }
svg text { fill: var(--ink); } .grid { stroke: var(--faint); } .rule { stroke: var(--weak); stroke-dasharray: 5 4; }
svg text.weak { fill: var(--weak); } .band { fill: var(--faint); opacity: .6; }
.end { text-anchor: end; } .centre { text-anchor: middle; } .middle { dominant-baseline: central; }
.weak { color: var(--weak); }
@media print {
  body { max-width: none; margin: 0; font-size: 11px; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  table { font-size: 10px; } th, td { white-space: normal; padding: .2rem .4rem; } .scroll { overflow: visible; }
  svg { min-width: 0; } h2, h3 { break-after: avoid; } svg, tr, img { break-inside: avoid; }
}
"""


@dataclass(frozen=True)
class Cell:
    """A table's cell that isn't plain text.

    Attributes:
        text: plain; it is escaped.
        columns: how many it spans.
        kind: its CSS class: "error" or "text", both set to the left and wrapped.
    """

    text: str
    columns: int = 1
    kind: str = ""


Row: TypeAlias = "Sequence[str | Cell]"


def page(title: str, sections: Sequence[str], style: str = "") -> str:
    """The whole file.

    Args:
        title: plain text; of the window, the heading is up to the sections.
        sections: HTML, in order.
        style: CSS besides STYLE.
    """
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n"
        + "\n".join(section for section in sections if section)
        + "\n</body>\n</html>\n"
    )


def table(columns: Sequence[str], rows: Sequence[Row], caption: str = "") -> str:
    """A table that scrolls sideways where it is too wide; the first cell of each row is its heading.

    Args:
        columns, caption: plain text.
        rows: plain text or cells.
    """
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "\n".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{above}<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def facts_table(facts: Sequence[tuple[str, str]]) -> str:
    """Names and what they stand for, both plain text."""
    rows = "\n".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in facts)
    return f'<table class="facts"><tbody>{rows}</tbody></table>'


def bullets(lines: Sequence[str]) -> str:
    """A list of remarks, plain text, set back; nothing for none."""
    if not lines:
        return ""
    return '<ul class="weak">' + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _cells(row: Row) -> str:
    drawn = []
    for index, given in enumerate(row):
        cell = Cell(given) if isinstance(given, str) else given
        name = "td" if index else "th"
        attributes = "" if index else ' scope="row"'
        attributes += f' colspan="{cell.columns}"' if cell.columns > 1 else ""
        attributes += f' class="{cell.kind}"' if cell.kind else ""
        drawn.append(f"<{name}{attributes}>{escape(cell.text)}</{name}>")
    return "".join(drawn)
