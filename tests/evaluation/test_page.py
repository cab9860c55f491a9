"""The page with plots needs nothing from elsewhere."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from protoleak.evaluation.confusion_plot import confusion_plot
from protoleak.evaluation.page import html_page
from protoleak.evaluation.results import Confusion, Report, VariantReport
from protoleak.evaluation.tables import accused_line, estimate, share
from protoleak.metrics.report import Estimate, Share
from tests.pages import assert_loads_and_runs_nothing


def test_the_page_loads_nothing_and_runs_nothing(report: Report) -> None:
    assert_loads_and_runs_nothing(html_page(report))


def test_real_faces_accused_come_before_every_table(report: Report) -> None:
    page = html_page(report)
    assert page.index("Real faces accused (fp32): ") < page.index("<table")


def test_there_is_every_plot_and_all_are_well_formed(report: Report) -> None:
    plots = re.findall(r"<svg.*?</svg>", html_page(report), re.DOTALL)
    # confusion matrix, ROC, densities, reliability, and four over severity
    assert len(plots) == 8
    for plot in plots:
        ElementTree.fromstring(plot)


def test_a_failed_variant_is_shown_with_its_reason(report: Report) -> None:
    import msgspec

    failed = msgspec.structs.replace(
        report, variants=[VariantReport(variant="int8", engine="auto", error="<it broke>")]
    )
    page = html_page(failed)
    assert "&lt;it broke&gt;" in page
    assert "not measured" in page


def test_names_with_markup_in_them_are_shown_and_not_obeyed() -> None:
    plot = confusion_plot(Confusion(["<b>", "unknown"], {"<i>&": [1, 0], "none": [0, 0]}))
    assert "<b>" not in plot
    assert "<i>" not in plot
    ElementTree.fromstring(plot.removeprefix('<div class="scroll">').removesuffix("</div>"))


def test_numbers_are_written_with_their_intervals_and_reasons() -> None:
    assert estimate(Estimate(0.9731, (0.961, 0.982), None)) == "0.973 [0.961, 0.982]"
    assert estimate(Estimate(0.9731, None, "few")) == "0.973 (no interval)"
    assert estimate(Estimate(None, None, "no image")) == "– (no image)"
    assert share(Share(3, 40, 0.075, (0.0258, 0.1986), None)) == "3 of 40 (7.5 %, 95 % interval 2.6–19.9 %)"
    assert share(Share(0, 0, None, (0.0, 1.0), None)) == "no image"
    assert accused_line(VariantReport(variant="fp32", engine="auto")).startswith("not measured: no real photographs")
