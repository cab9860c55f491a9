"""The page with plots needs nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from protoleak.bench.page import cost_plot, html_page
from protoleak.bench.results import Report
from protoleak.bench.run import run_benchmark
from protoleak.bench.settings import BenchmarkSettings
from protoleak.bundle.bundle import Bundle
from tests.pages import assert_loads_and_runs_nothing


@pytest.fixture(scope="module")
def report(tiny_bundle: Path, labelled: Path) -> Report:
    settings = BenchmarkSettings(
        engines=("onnxruntime", "tensorrt"), batch_sizes=(1, 2), runs=2, warm_up=1, data=labelled, threads=1
    )
    return run_benchmark(Bundle.load(tiny_bundle), settings)


def drawn(page: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", page, re.DOTALL)


def test_the_page_loads_nothing_and_runs_nothing(report: Report) -> None:
    assert_loads_and_runs_nothing(html_page(report))


def test_there_is_a_plot_per_batch_size_and_one_over_batch_sizes_all_well_formed(report: Report) -> None:
    plots = drawn(html_page(report))
    assert len(plots) == 3
    for plot in plots:
        ElementTree.fromstring(plot)


def test_the_page_says_what_failed_and_which_bundle_it_was(report: Report) -> None:
    page = html_page(report)
    assert report.bundle.sha256 in page
    assert 'class="error"' in page


def test_one_batch_size_alone_can_be_drawn(report: Report) -> None:
    ElementTree.fromstring(cost_plot([row for row in report.rows if row.batch == 2]))
