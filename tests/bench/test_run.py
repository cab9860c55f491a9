"""Whole benchmarks of the small bundle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protoleak.bench.results import Report
from protoleak.bench.run import run_benchmark
from protoleak.bench.settings import BenchmarkSettings
from protoleak.bundle.bundle import Bundle
from protoleak.errors import BundleError, EngineUnavailable, ProtoleakError
from protoleak.runtime.engines import EngineOptions
from protoleak.runtime.engines import onnxruntime as engine_file
from protoleak.screener import Screener

FAST = BenchmarkSettings(engines=("onnxruntime",), batch_sizes=(1, 2), runs=3, warm_up=1, threads=1)


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return Bundle.load(tiny_bundle)


def changed(**values: object) -> BenchmarkSettings:
    return BenchmarkSettings(**{**{name: getattr(FAST, name) for name in FAST.__dataclass_fields__}, **values})  # type: ignore[arg-type]


def test_every_batch_size_is_a_row_with_its_times_memory_and_size(bundle: Bundle) -> None:
    report = run_benchmark(bundle, FAST)
    assert [row.batch for row in report.rows] == [1, 2]
    for row in report.rows:
        assert row.error is None
        assert row.timing is not None
        assert row.timing.runs == 3
        assert 0 < row.timing.engines.p50 < row.timing.end_to_end.p50
        assert row.timing.end_to_end.minimum <= row.timing.end_to_end.p50 <= row.timing.end_to_end.p99
        assert set(row.timing.stages) == {
            *("decode", "preprocess", "latent_encoder", "noising", "attributor", "decision")
        }
        assert all(spent > 0 for spent in row.timing.stages.values())
        variant = bundle.variant("fp32")
        assert row.model_bytes == len(variant.latent_encoder) + len(variant.attributor)


def test_engines_left_out_are_all_that_run_here_and_the_others_come_with_a_reason(bundle: Bundle) -> None:
    report = run_benchmark(bundle, changed(engines=None, batch_sizes=(1,), runs=1))
    timed = {row.engine for row in report.rows}
    assert "onnxruntime" in timed
    assert not timed & set(report.not_here)
    assert len(timed) + len(report.not_here) == 6
    assert all(report.not_here.values())


def test_an_engine_that_cannot_run_is_failed_rows_and_the_others_go_on(
    bundle: Bundle, labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: str = "") -> None:
        raise ImportError("no such library\nand much more")

    monkeypatch.setattr("protoleak.runtime.engines.openvino.import_openvino", missing)
    report = run_benchmark(bundle, changed(engines=("openvino", "onnxruntime"), data=labelled))
    errors = [row.error for row in report.rows]
    assert errors == ["ImportError: no such library", "ImportError: no such library", None, None]
    assert [item.error is None for item in report.accuracy] == [False, True]


def test_a_failure_at_one_batch_size_leaves_the_others(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    original = engine_file.OnnxRuntimeEngine.run

    def run(self: engine_file.OnnxRuntimeEngine, feeds: dict[str, object]) -> object:
        if len(next(iter(feeds.values()))) == 2:  # type: ignore[arg-type]
            raise MemoryError("not enough of it")
        return original(self, feeds)  # type: ignore[arg-type]

    monkeypatch.setattr(engine_file.OnnxRuntimeEngine, "run", run)
    report = run_benchmark(bundle, FAST)
    assert [row.error for row in report.rows] == [None, "MemoryError: not enough of it"]


def test_the_timed_artefact_is_the_one_that_is_judged(bundle: Bundle, labelled: Path) -> None:
    report = run_benchmark(bundle, changed(data=labelled, real_class="phones", batch_sizes=(1,)))
    (item,) = report.accuracy
    assert item.real_faces is not None
    assert item.real_class is not None
    assert item.known_right is not None
    assert item.right is not None
    assert (item.real_faces.accused.of, item.real_class.of, item.known_right.of) == (4, 4, 12)
    stranger = item.unknown["stranger"].rejected
    assert (stranger.count, stranger.of) == (4, 4)  # a colour that no class has
    assert item.right.of == 20
    assert item.right.share is not None
    assert item.right.share >= 0.8  # at α = 0.05 a few of 20 may be refused
    assert item.closed_set is not None
    assert item.closed_set.macro_auc_softmax.interval_95 is None
    assert item.same_as_reference is None


def test_a_second_engine_is_compared_with_the_first_by_its_verdicts(bundle: Bundle, labelled: Path) -> None:
    pytest.importorskip("openvino")
    report = run_benchmark(bundle, changed(engines=("onnxruntime", "openvino"), data=labelled, batch_sizes=(1,)))
    assert report.accuracy[1].reference == "onnxruntime fp32"
    assert report.accuracy[1].same_as_reference == 1


def test_bf16_is_measured_beside_where_it_was_asked_for(bundle: Bundle) -> None:
    report = run_benchmark(bundle, changed(computes=("exact", "bf16"), engines=("onnxruntime",), batch_sizes=(1,)))
    assert [row.compute for row in report.rows] == ["exact"]  # ONNX Runtime has none
    pytest.importorskip("openvino")
    report = run_benchmark(bundle, changed(computes=("bf16",), engines=("openvino",), batch_sizes=(1,)))
    assert [row.name for row in report.rows] == ["openvino fp32 in bf16"]  # timed or failed, by the processor


def test_the_stages_of_a_cuda_graph_come_from_runs_without_it(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    class OneGraph(Screener):
        """Hands on what a line on a GPU does: one time for the whole, unless the stages are to be timed."""

        def each(self, *given: Any, **named: Any) -> Any:
            for verdict in super().each(*given, **named):
                spent = dict(verdict.milliseconds)  # type: ignore[union-attr]
                if not self.staged:
                    spent["gpu"] = sum(spent.pop(stage) for stage in ("latent_encoder", "noising", "attributor"))
                yield msgspec.structs.replace(verdict, milliseconds=spent)  # type: ignore[type-var]

        def __init__(self, *given: Any, engine_options: EngineOptions, **named: Any) -> None:
            super().__init__(*given, engine_options=engine_options, **named)
            self.staged = engine_options.stage_times

    monkeypatch.setattr("protoleak.bench.measuring.Screener", OneGraph)
    for row in run_benchmark(bundle, FAST).rows:
        assert row.timing is not None, row.error
        assert "gpu" not in row.timing.stages
        assert row.timing.stages["latent_encoder"] > 0
        assert row.timing.engines.p50 > 0


def test_names_that_do_not_exist_are_errors_before_anything_is_timed(bundle: Bundle) -> None:
    with pytest.raises(EngineUnavailable, match="steam"):
        run_benchmark(bundle, changed(engines=("steam",)))
    with pytest.raises(BundleError, match="int3"):
        run_benchmark(bundle, changed(variants=("int3",)))


@pytest.mark.parametrize("wrong", [{"runs": 0}, {"batch_sizes": ()}, {"batch_sizes": (0,)}, {"threads": 0}])
def test_settings_that_measure_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ProtoleakError):
        changed(**wrong)


def test_the_json_reads_back_as_the_same_report(bundle: Bundle) -> None:
    report = run_benchmark(bundle, changed(batch_sizes=(1,), runs=1))
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
    assert report.bundle.sha256 == bundle.sha256


def test_a_baseline_that_cannot_be_loaded_is_a_row_and_the_engines_are_timed(bundle: Bundle, tmp_path: Path) -> None:
    report = run_benchmark(bundle, changed(baseline_model=tmp_path))
    assert [row.error is None for row in report.rows] == [True, True, False, False]
    assert report.rows[-1].engine == "pytorch eager"


def test_without_a_baseline_torch_is_never_imported(tiny_bundle: Path) -> None:
    script = f"""
import sys
for name in ("torch", "diffusers", "onnx", "sklearn"):
    sys.modules[name] = None
from protoleak.bench.run import run_benchmark
from protoleak.bench.settings import BenchmarkSettings
from protoleak.bundle.bundle import Bundle
settings = BenchmarkSettings(engines=("onnxruntime",), batch_sizes=(1,), runs=1, threads=1)
assert run_benchmark(Bundle.load({str(tiny_bundle)!r}), settings).rows[0].error is None
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
