"""The report as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from protoleak.bench.results import STAGES, Report, Row, Timing
from protoleak.bench.tables import ACCURACY_COLUMNS, ROW_COLUMNS, accuracy_cells, facts, row_cells
from protoleak.reports.bar_plot import stacked_bars
from protoleak.reports.line_plot import Axis, Series, line_plot
from protoleak.reports.page import Cell, bullets, facts_table, page, table

OTHER = "other"


def html_page(report: Report) -> str:
    """The whole page."""
    title = f"protoleak bench: {report.bundle.name}"
    timed = [row for row in report.rows if row.timing is not None]
    sections = [f"<h1>{escape(title)}</h1>", facts_table(facts(report))]
    if report.accuracy:
        sections += ["<h2>Verdicts against labels</h2>", f'<p class="weak">{escape(str(report.data))}.</p>']
        sections.append(_accuracy_table(report))
    for batch in sorted({row.batch for row in timed}):
        sections.append(f"<h2>Milliseconds per face, batch of {batch}</h2>")
        sections.append(_bars([row for row in timed if row.batch == batch], batch))
    if len({row.batch for row in timed}) > 1:
        sections += ["<h2>Cost per face over the batch</h2>", cost_plot(timed)]
    sections += ["<h2>All rows</h2>", _row_table(report), bullets(report.notes)]
    return page(title, sections)


def cost_plot(rows: Sequence[Row]) -> str:
    """Milliseconds per face over batch sizes; the horizontal axis doubles from step to step."""
    series: dict[str, dict[int, float]] = {}
    for row in rows:
        if row.timing is not None:
            series.setdefault(row.name, {})[row.batch] = row.timing.per_face
    batches = sorted({batch for values in series.values() for batch in values})
    return line_plot(
        [Series(name, sorted(values.items()), shape="circle") for name, values in series.items()],
        Axis("batch size", scale="log2", ticks=batches),
        Axis("milliseconds per face"),
        "Milliseconds per face of each engine and variant over the batch size; the table of all rows has the numbers.",
    )


def _bars(rows: Sequence[Row], batch: int) -> str:
    bars = []
    for row in rows:
        if row.timing is not None:
            text = f"{row.timing.per_face:.4g} ms"
            bars.append((row.name, _parts(row.timing), text + _times(row)))
    described = f"Milliseconds per face of each engine and variant in batches of {batch}, divided into stages."
    return stacked_bars(bars, (*STAGES, OTHER), "ms", described)


def _parts(timing: Timing) -> dict[str, float]:
    return timing.stages | {OTHER: max(0.0, timing.per_face - sum(timing.stages.values()))}


def _times(row: Row) -> str:
    return "" if row.baseline is None else f" ({row.baseline.end_to_end_ratio:.2f}×)"


def _row_table(report: Report) -> str:
    rows: list[Sequence[str | Cell]] = []
    for row in report.rows:
        if row.error is None:
            rows.append(row_cells(row))
        else:
            rows.append([row.name, str(row.batch), Cell(row.error, len(ROW_COLUMNS) - 2, "error")])
    return table(ROW_COLUMNS, rows)


def _accuracy_table(report: Report) -> str:
    rows: list[Sequence[str | Cell]] = []
    for item in report.accuracy:
        if item.error is None:
            rows.append(accuracy_cells(item))
        else:
            rows.append([item.name, Cell(item.error, len(ACCURACY_COLUMNS) - 1, "error")])
    return table(ACCURACY_COLUMNS, rows)
