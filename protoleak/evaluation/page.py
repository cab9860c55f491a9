"""The report as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path

from protoleak.evaluation import tables
from protoleak.evaluation.confusion_plot import confusion_plot
from protoleak.evaluation.results import AccusedFace, Histogram, Report, Robustness, RobustnessRow, VariantReport
from protoleak.evaluation.robustness import AS_IT_IS, CHAIN
from protoleak.images.thumbnail import thumbnail_uri
from protoleak.metrics.report import Probabilities
from protoleak.reports.line_plot import Axis, Series, line_plot
from protoleak.reports.page import Cell, Row, bullets, facts_table, page, table

THUMBNAIL = 112  # pixels


def html_page(report: Report, images: Mapping[str, Path] | None = None) -> str:
    """The whole page.

    Args:
        images: where the accused real faces lie, by their names in the report, for thumbnails; None for none.
    """
    title = f"protoleak evaluate: {report.bundle.name}"
    accused = [
        f"<p><strong>Real faces accused ({escape(one.variant)}): {escape(tables.accused_line(one))}</strong></p>"
        for one in report.variants
    ]
    sections = [f"<h1>{escape(title)}</h1>", *accused, facts_table(tables.facts(report))]
    for variant in report.variants:
        sections += _variant(variant, report.alpha, images or {})
    sections += ["<h2>How to read it</h2>", bullets(report.notes)]
    return page(title, sections)


def _variant(variant: VariantReport, alpha: float, images: Mapping[str, Path]) -> list[str]:
    sections = [f"<h2>{escape(variant.variant)}, {escape(variant.engine)}</h2>"]
    if variant.error is not None:
        return [
            *sections,
            table(("variant", "what went wrong"), [[variant.variant, Cell(variant.error, kind="error")]]),
        ]
    sections.append(facts_table(tables.summary(variant, alpha)))
    if variant.accused:
        sections += ["<h3>Real faces accused, one by one</h3>", *(_accused(face, images) for face in variant.accused)]
    sections += ["<h3>Known classes</h3>", table(tables.GENERATOR_COLUMNS, tables.generator_rows(variant))]
    if variant.unknown:
        rows: list[Row] = [[*cells[:-1], Cell(cells[-1], kind="text")] for cells in tables.unknown_rows(variant)]
        sections += ["<h3>Generators that the bundle doesn't know</h3>", table(tables.UNKNOWN_COLUMNS, rows)]
    if variant.by_source:
        sections += ["<h3>By source</h3>", table(tables.SOURCE_COLUMNS, [*map(tables.source_cells, variant.by_source)])]
    if variant.real_open_set:
        sections += ["<h3>Real photographs</h3>", table(tables.REAL_COLUMNS, tables.real_rows(variant))]
    if variant.confusion is not None:
        sections += ["<h3>Verdicts by where the images come from</h3>", confusion_plot(variant.confusion)]
    sections += ["<h3>ROC curves</h3>", _roc(variant)]
    if variant.densities is not None:
        sections += ["<h3>Log densities</h3>", _densities(variant.densities)]
    if variant.probabilities is not None:
        sections += ["<h3>Are probabilities what they say?</h3>", _reliability(variant.probabilities)]
    if variant.robustness is not None:
        sections += _robustness(variant.robustness)
    if variant.unreadable:
        sections += ["<h3>Files without a verdict</h3>", bullets(variant.unreadable)]
    return sections


def _accused(face: AccusedFace, images: Mapping[str, Path]) -> str:
    """A figure: the photograph where it is at hand, who was named, and what spoke for it."""
    looks = ", ".join(f"{look} {weight:.2f}" for look, weight in face.looks.items())
    timesteps = ", ".join(f"t = {timestep} {weight:.2f}" for timestep, weight in face.timesteps.items())
    as_real = "" if face.real_p_value is None else f"; as real {face.real_p_value:.4f}"
    text = f"{face.file}: {face.generator}; p-value {face.p_value:.3f}{as_real}; {looks}; {timesteps}"
    uri = thumbnail_uri(images[face.file], THUMBNAIL) if face.file in images else None
    shown = "" if uri is None else f'<img alt="" src="{uri}">'
    return f"<figure>{shown}<figcaption>{escape(text)}</figcaption></figure>"


def _roc(variant: VariantReport) -> str:
    series = [Series(curve.name, curve.points) for curve in variant.roc]
    return line_plot(
        series,
        Axis(
            "share of the others taken (a class by its softmax against the other known, the known by log density)",
            start=0.0,
            end=1.0,
        ),
        Axis("share of its own taken", start=0.0, end=1.0),
        "ROC curves",
        height=420,
    )


def _densities(histogram: Histogram) -> str:
    middles = [(low + high) / 2 for low, high in zip(histogram.edges, histogram.edges[1:], strict=False)]
    series = [Series(name, list(zip(middles, shares, strict=True))) for name, shares in histogram.shares.items()]
    across = Axis(
        "log density in nats; the outermost bins hold all beyond", start=histogram.edges[0], end=histogram.edges[-1]
    )
    return line_plot(series, across, Axis("share of the images"), "Distribution of log densities")


def _reliability(probabilities: Probabilities) -> str:
    points = [(one.confidence, one.accuracy) for one in probabilities.bins]
    series = [
        Series("known images", points, shape="circle"),
        Series("what it should be", [(0.0, 0.0), (1.0, 1.0)], dashed=True),
    ]
    return line_plot(
        series,
        Axis("mean probability", start=0.0, end=1.0),
        Axis("share right", start=0.0, end=1.0),
        "Reliability of probabilities",
    )


def _robustness(robustness: Robustness) -> list[str]:
    sections = ["<h3>After operators, at the frozen threshold</h3>"]
    plots: list[tuple[str, Callable[[RobustnessRow], float | None]]] = [
        ("share of known images with the right verdict", lambda row: row.right.share),
        ("macro AUC (softmax)", lambda row: row.macro_auc_softmax.value),
        ("AUROC of known against unknown", lambda row: row.auroc.value),
        ("share of real faces accused", lambda row: None if row.real_accused is None else row.real_accused.share),
    ]
    for title, value in plots:
        sections.append(_against_severity(robustness, title, value))
    rows: list[Row] = []
    for row in robustness.rows:
        rows.append(tables.robustness_cells(row))
        if row.error is not None:
            words = f"{row.failed} without a verdict, the first: {row.error}"
            rows.append([row.operator, Cell(words, len(tables.ROBUSTNESS_COLUMNS) - 1, "error")])
    return [*sections, table(tables.ROBUSTNESS_COLUMNS, rows)]


def _against_severity(robustness: Robustness, title: str, value: Callable[[RobustnessRow], float | None]) -> str:
    untouched = next((row for row in robustness.rows if row.operator == AS_IT_IS), None)
    series = []
    for name in dict.fromkeys(row.operator for row in robustness.rows if row.operator != AS_IT_IS):
        rows = [row for row in robustness.rows if row.operator == name]
        points = [
            (float(row.severity), found)
            for row in [*([untouched] if untouched else []), *rows]
            for found in [value(row)]
            if found is not None
        ]
        if points:
            shown = "chain of that many" if name == CHAIN else name
            series.append(Series(shown, points, shape="circle"))
    if not series:
        return ""
    across = Axis("severity; 0 is the image as it is", start=0.0, end=5.0, ticks=(0, 1, 2, 3, 4, 5))
    return line_plot(series, across, Axis(title, start=0.0, end=1.0), f"{title} over severity")
