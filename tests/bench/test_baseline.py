"""Eager PyTorch in turns with the engines, with the model that benchmarks/engines.py makes, but tiny."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.paths import ROOT

torch = pytest.importorskip("torch", reason="the baseline is PyTorch")
pytest.importorskip("diffusers", reason="diffusers makes the latent encoder")

from protoleak.bench.results import Report  # noqa: E402
from protoleak.bench.run import run_benchmark  # noqa: E402
from protoleak.bench.settings import BenchmarkSettings  # noqa: E402
from protoleak.bundle.bundle import Bundle  # noqa: E402

SCRIPT = ROOT / "benchmarks" / "engines.py"
SETTINGS = BenchmarkSettings(engines=("onnxruntime",), batch_sizes=(1, 2), runs=2, warm_up=1, threads=1)


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    specification = importlib.util.spec_from_file_location("benchmark_of_engines", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["benchmark_of_engines"] = module
    specification.loader.exec_module(module)
    threads = torch.get_num_threads()
    yield module
    torch.set_num_threads(threads)
    del sys.modules["benchmark_of_engines"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("random")


@pytest.fixture(scope="module")
def report(script: ModuleType, folder: Path) -> Report:
    size = script.Size(widths=(8, 8, 8, 8), blocks=1, groups=4, image_size=64, backbone="conv")
    found = script.measured(folder, size, SETTINGS)
    assert isinstance(found, Report)
    return found


def test_every_row_in_turns_with_the_baseline_has_its_ratio_and_the_baseline_its_row(report: Report) -> None:
    assert [(row.name, row.batch, row.error) for row in report.rows] == [
        ("onnxruntime fp32", 1, None),
        ("onnxruntime int8", 1, None),
        ("pytorch eager fp32", 1, None),
        ("onnxruntime fp32", 2, None),
        ("onnxruntime int8", 2, None),
    ]
    for row in report.rows[:2]:
        assert row.timing is not None
        assert row.baseline is not None
        ratio = row.baseline.timing.end_to_end.p50 / row.timing.end_to_end.p50
        assert row.baseline.end_to_end_ratio == pytest.approx(ratio)
    assert report.rows[2].timing is not None
    assert report.rows[2].timing.runs == 4  # two in turns with each variant
    assert report.rows[3].baseline is None


def test_the_benchmark_of_engines_has_a_line_for_every_target(report: Report, script: ModuleType) -> None:
    lines = [what for what, *_ in script.targets(report.rows)]
    assert sum("eager PyTorch" in line for line in lines) == 1
    assert sum("outside the engines" in line for line in lines) == 2
    assert sum("batch of 2" in line for line in lines) == 2


def test_another_model_than_the_bundle_s_is_no_baseline_for_it(report: Report, folder: Path, tiny_bundle: Path) -> None:
    assert report.rows  # the model has been written
    settings = BenchmarkSettings(
        engines=("onnxruntime",), batch_sizes=(1,), runs=1, warm_up=0, threads=1, baseline_model=folder / "model"
    )
    found = run_benchmark(Bundle.load(tiny_bundle), settings)
    assert "not the model of this bundle: generators" in str(found.rows[-1].error)
    assert found.rows[0].error is None
