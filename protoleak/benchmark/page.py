"""The report as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from protoleak.benchmark.plots import lines, stacked_bars
from protoleak.benchmark.results import STAGES, Report, Row, Timing
from protoleak.benchmark.tables import ACCURACY_COLUMNS, ROW_COLUMNS, accuracy_cells, facts, row_cells

OTHER = "other"
STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --faint: #d5d9de; --weak: #5c6670; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --paper: #15181b; --faint: #3a4047; --weak: #9aa4ad; --bad: #ff8a80; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
       max-width: 1080px; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--faint); text-align: right; white-space: nowrap; }
th:first-child, td:first-child, .facts td, .facts th { text-align: left; }
.facts td { white-space: normal; }
td.error { color: var(--bad); text-align: left; white-space: normal; }
svg { max-width: 100%; height: auto; font: 13px system-ui, sans-serif; }
svg text { fill: var(--ink); } .grid { stroke: var(--faint); }
.end { text-anchor: end; } .centre { text-anchor: middle; } .middle { dominant-baseline: central; }
.weak { color: var(--weak); }
"""


def html_page(report: Report) -> str:
    """The whole page."""
    title = f"protoleak bench: {report.bundle.name}"
    timed = [row for row in report.rows if row.timing is not None]
    sections = [f"<h1>{escape(title)}</h1>", _facts(report)]
    if report.accuracy:
        sections += ["<h2>Verdicts against labels</h2>", f'<p class="weak">{escape(str(report.data))}.</p>']
        sections.append(_accuracy_table(report))
    for batch in sorted({row.batch for row in timed}):
        sections.append(f"<h2>Milliseconds per face, batch of {batch}</h2>")
        sections.append(_bars([row for row in timed if row.batch == batch]))
    if len({row.batch for row in timed}) > 1:
        sections += ["<h2>Cost per face over the batch</h2>", _lines(timed)]
    sections += ["<h2>All rows</h2>", _row_table(report)]
    sections.append('<ul class="weak">' + "".join(f"<li>{escape(note)}</li>" for note in report.notes) + "</ul>")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(sections)
        + "\n</body>\n</html>\n"
    )


def _facts(report: Report) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts(report))
    return f'<table class="facts">{rows}</table>'


def _bars(rows: Sequence[Row]) -> str:
    bars = []
    for row in rows:
        if row.timing is not None:
            text = f"{row.timing.per_face:.4g} ms"
            bars.append((row.name, _parts(row.timing), text + _times(row)))
    return stacked_bars(bars, (*STAGES, OTHER), "ms")


def _parts(timing: Timing) -> dict[str, float]:
    return timing.stages | {OTHER: max(0.0, timing.per_face - sum(timing.stages.values()))}


def _times(row: Row) -> str:
    return "" if row.baseline is None else f" ({row.baseline.end_to_end_ratio:.2f}×)"


def _lines(rows: Sequence[Row]) -> str:
    series: dict[str, dict[int, float]] = {}
    for row in rows:
        if row.timing is not None:
            series.setdefault(row.name, {})[row.batch] = row.timing.per_face
    return lines(series, "batch size", "milliseconds per face")


def _row_table(report: Report) -> str:
    body = []
    for row in report.rows:
        if row.error is None:
            cells = "".join(f"<td>{escape(cell)}</td>" for cell in row_cells(row))
        else:
            cells = f"<td>{escape(row.name)}</td><td>{row.batch}</td>" + _error(row.error, len(ROW_COLUMNS) - 2)
        body.append(f"<tr>{cells}</tr>")
    return _table(ROW_COLUMNS, body)


def _accuracy_table(report: Report) -> str:
    body = []
    for item in report.accuracy:
        if item.error is None:
            cells = "".join(f"<td>{escape(cell)}</td>" for cell in accuracy_cells(item))
        else:
            cells = f"<td>{escape(item.name)}</td>" + _error(item.error, len(ACCURACY_COLUMNS) - 1)
        body.append(f"<tr>{cells}</tr>")
    return _table(ACCURACY_COLUMNS, body)


def _error(text: str, columns: int) -> str:
    return f'<td class="error" colspan="{columns}">{escape(text)}</td>'


def _table(columns: Sequence[str], body: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
