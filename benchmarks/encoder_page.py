"""The curves and the table of benchmarks/encoders.py as an HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from benchmarks.encoder_targets import AUC_MARGIN, OPEN_SET_MARGIN, best_engine, judged
from protoleak.reports.line_plot import Axis, Rule, Series, line_plot
from protoleak.reports.page import bullets, facts_table, page, table

HEADS = {"macro_auc": "macro AUC", "open_set_auroc": "open-set AUROC"}


def html(results: Sequence[dict[str, Any]], record: dict[str, Any]) -> str:
    """The page: a curve per measure, and the table."""
    title = "Latent encoders: accuracy against time"
    teacher, students = results[0], results[1:]
    sections = [
        f"<h1>{escape(title)}</h1>",
        facts_table([(key, str(record[key])) for key in ("zoo", "commit", "processor")]),
    ]
    for key, name in HEADS.items():
        margin = AUC_MARGIN if key == "macro_auc" else OPEN_SET_MARGIN
        points = [(best_engine(one)[1], one[key]) for one in (*students, teacher)]
        low = min(*(value for _, value in points), teacher[key] - margin) - 0.01
        named = [
            Series(one["name"], [(best_engine(one)[1], one[key])], joined=False, shape="circle") for one in results
        ]
        curve = Series("students", sorted((best_engine(one)[1], one[key]) for one in students), colour="#999999")
        plot = line_plot(
            [curve, *named],
            Axis("milliseconds per face end to end, fastest engine", scale="log2"),
            Axis(name, start=low, end=1.0, shown="{:.3f}".format),
            f"{name} of each encoder against milliseconds per face; the table has the numbers.",
            rules=[Rule(teacher[key] - margin, f"teacher − {margin:g}")],
        )
        sections += [f"<h2>{escape(name)}</h2>", plot]
    columns = [
        "encoder",
        "GFLOP",
        "correlation",
        *HEADS.values(),
        *(f"{name}, ms" for name in teacher["milliseconds"]),
        "targets met",
    ]
    rows = []
    for one in results:
        met = sum(judged(one, teacher).values())
        numbers = ["–" if one[key] is None else f"{one[key]:.3f}" for key in ("gflop", "correlation_with_teacher")]
        numbers += [f"{one[key]:.4f}" for key in HEADS]
        numbers += [f"{times['end_to_end']:.1f}" for times in one["milliseconds"].values()]
        rows.append([one["name"], *numbers, f"{met} of 4"])
    sections += ["<h2>All encoders</h2>", table(columns, rows), bullets(record["notes"])]
    return page(title, sections)
