"""The page of `protoleak bench --html` as a browser shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from protoleak.bench.page import html_page
from protoleak.bench.run import run_benchmark
from protoleak.bench.settings import BenchmarkSettings
from protoleak.bundle.bundle import Bundle
from tests.browser import check_plots, chromium, fits, opened


@pytest.mark.parametrize("width", [1280, 400])
def test_its_plots_are_seen_and_nothing_is_loaded(
    tiny_bundle: Path, labelled: Path, tmp_path: Path, width: int
) -> None:
    with chromium() as browser:
        settings = BenchmarkSettings(
            engines=("onnxruntime", "tensorrt"), batch_sizes=(1, 2), runs=2, warm_up=1, data=labelled, threads=1
        )
        file = tmp_path / "bench.html"
        file.write_text(html_page(run_benchmark(Bundle.load(tiny_bundle), settings)))
        with opened(browser, file, width) as page:
            check_plots(page, at_least=3)
            assert page.locator("thead th[scope=col]").count() > 10
            assert fits(page)
