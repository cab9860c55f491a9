"""The benchmark for a first run on a GPU, from its first row to its exit status: on a played GPU, whose plans are
really built, whose kernels are the real source, and whose arithmetic is the processor's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is an extra")
pytest.importorskip("onnx", reason="onnx makes the graphs")
pytest.importorskip("av", reason="PyAV reads and writes the videos")

from benchmarks import gpu
from benchmarks.gpu_checks import bandwidth, framing, matrix_limit
from benchmarks.gpu_checks.precisions import graphs_of
from benchmarks.gpu_checks.setup import Settings, Setup
from protoleak.bundle.bundle import Bundle
from protoleak.errors import EngineError, EngineUnavailable
from protoleak.runtime.engine_options import EngineOptions
from protoleak.runtime.engines import Graph
from protoleak.runtime.executors import open_executor
from protoleak.runtime.noising import Noising
from tests.runtime.executors.played_executor import GPU, ExecutorWorker, open_played_executor, open_played_plan
from tests.video.sources.media import write

PLAYED = "tensorrt-rtx"
UNMADE = "the bundle has no variant "
OTHERS = "not installed here: pip install it"
SIZES = (1, 3)


class Played:
    """What `Setup` opens, played; `run` is the command."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, bundle: Path, folder: Path, cache: Path) -> None:
        self.monkeypatch, self.bundle, self.folder, self.cache = monkeypatch, bundle, folder, cache
        self.free: Callable[[], int] = lambda: 8 * 2**30
        self.changed: Callable[[Any], Any] = lambda executor: executor
        monkeypatch.setattr(gpu, "find_gpu", lambda _: GPU)
        monkeypatch.setattr("protoleak.runtime.opening.open_executor", self.open)
        monkeypatch.setattr("protoleak.runtime.opening.try_opening", lambda *_, **__: None)
        monkeypatch.setattr(bandwidth, "COPY", 2**16)
        monkeypatch.setattr(framing, "REPEATS", 1)
        monkeypatch.setattr(framing, "FRAMES", ((180, 320),))
        self.clip = folder / "clip.mp4"
        write(self.clip)

    def open(self, engine: str, graphs: Any, manifest: Any, bank: Any, **named: Any) -> Any:
        if engine != PLAYED:
            return open_executor(engine, graphs, manifest, bank, **named)
        loaded = Bundle.load(self.bundle)
        return self.changed(open_played_executor(self.monkeypatch, loaded, named["options"], graphs=graphs)[0])

    def worker(self, _: int) -> Any:
        loaded = Bundle.load(self.bundle)
        return ExecutorWorker(Noising.of(loaded.manifest, loaded.noise_bank))

    def plan(self, engine: str, graph: Graph, options: EngineOptions) -> Any:
        assert engine == PLAYED
        worker: Any = self.worker(0)
        return open_played_plan(self.monkeypatch, worker, "products", graph, options)

    def setup(self, bundle: Bundle, settings: Settings, images: np.ndarray, _: Path) -> Setup:
        small = Settings(settings.engines, settings.precisions, SIZES, 8, 3, 40, 32, settings.clip)
        return Setup(
            bundle,
            small,
            images[:8],
            self.cache,
            open_executor=self.open,
            open_worker=self.worker,
            open_stream_engine=self.plan,
            free_memory=lambda: self.free(),
            problem=lambda name, _: None if name == PLAYED else OTHERS,
        )

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        file = self.folder / "gpu.json"
        given = ["--bundle", str(self.bundle), "--clip", str(self.clip), "--json", str(file), "--quick", *arguments]
        status = gpu.main(given, self.setup)
        return status, json.loads(file.read_text())


@pytest.fixture
def played(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, tiny_look_bundle: Path, tmp_path: Path
) -> Played:
    cache = tmp_path_factory.getbasetemp() / "plans of benchmarks"  # what one test built, the others needn't
    return Played(monkeypatch, tiny_look_bundle, tmp_path, cache)


def test_every_question_has_rows_and_what_cannot_be_measured_says_why(
    played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    status, found = played.run()
    shown = capsys.readouterr().out
    rows = found["rows"]
    assert [row for row in rows if row["failed"] or row["holds"] is False] == []
    # The other engines' reason; of the one that is here only precisions that the small bundle cannot be made in.
    missing = {row["why"] for row in rows} - {None, OTHERS}
    assert {why[: len(UNMADE)] for why in missing} == {UNMADE}
    assert not [row for row in rows if row["why"] and ("fp32" in row["what"] and PLAYED in row["what"])]
    assert status == 0
    sections = list(dict.fromkeys(row["section"] for row in rows))
    assert len(sections) == len(gpu.SECTIONS)
    by_what = {(row["section"], row["what"]): row for row in rows}
    for section in sections:  # each has numbers of the one engine that is here
        assert any(row["section"] == section and row["values"] for row in rows), section
    assert f"tensorrt: not measured, because {OTHERS}" in shown
    for precision in ("fp32", "tf32"):
        parity = by_what["parity with the processor's fp32", f"{PLAYED}, {precision}"]
        assert parity["holds"]
        limit = by_what["share of the matrix limit", f"{PLAYED}, {precision}, batch 3, latent_encoder"]
        assert limit["values"]["share"] > 0
        assert limit["values"]["limit by"] == PLAYED
        for batch in SIZES:
            for graph in ("CUDA graph", "no graph"):
                what = f"{PLAYED}, {precision}, {graph}, batch {batch}"
                values = by_what["latency of a batch, images in and outputs out", what]["values"]
                assert 0 < values["p50 ms"] <= values["p95 ms"] <= values["p99 ms"]
    (level,) = (row for row in rows if row["section"] == "memory over many runs" and row["values"])
    assert level["what"] == f"{PLAYED}, fp32, 40 runs"
    clip = by_what["screening of a clip", PLAYED]["values"]
    assert (clip["other pixels judged"], clip["other labels"]) == (0, 0)
    assert clip["verdicts"] > 1
    assert found["machine"]["commit"]


def test_memory_that_grows_outputs_that_move_and_what_breaks_end_with_status_1(
    played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    left = iter(range(8 * 2**30, 0, -(2**20)))
    played.free = lambda: next(left)
    status, found = played.run("--sections", "memory")
    assert status == 1
    assert [row["holds"] for row in found["rows"] if row["values"]] == [False]
    assert "DOES NOT HOLD" in capsys.readouterr().out

    def wrong(executor: Any) -> Any:
        right = executor.run

        def run(images: Any, **named: Any) -> Any:
            found = right(images, **named)
            found.outputs["class_score"][:, 0] += 7
            return found

        executor.run = run
        return executor

    played.changed = wrong
    status, found = played.run("--sections", "parity", "--precisions", "fp32,tf32")
    assert status == 1
    assert [row["holds"] for row in found["rows"] if row["values"]] == [False, False]

    def broken(_: Any) -> Any:
        raise EngineError("out of memory")

    played.changed = broken
    status, found = played.run("--sections", "latency,framing,graphs", "--precisions", "fp32")
    assert status == 1
    assert {row["why"] for row in found["rows"] if row["failed"]} == {"out of memory"}
    assert "BROKEN tensorrt-rtx: not measured, because out of memory" in capsys.readouterr().out


def test_a_section_that_raises_is_a_row_and_the_others_are_measured(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(_: Setup) -> Any:
        raise ZeroDivisionError("nothing")
        yield

    monkeypatch.setitem(gpu.SECTIONS, "graphs", raises)
    status, found = played.run("--sections", "graphs,framing")
    assert status == 1
    assert found["rows"][0]["why"] == "ZeroDivisionError: nothing"
    framed = [row for row in found["rows"] if row["section"].startswith("framing") and row["values"]]
    assert [row["values"]["values that differ"] for row in framed] == [0, 0]


def test_without_a_gpu_nothing_is_measured_and_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def no_gpu(_: int) -> None:
        raise EngineUnavailable("there is no NVIDIA driver here: install it")

    monkeypatch.setattr(gpu, "find_gpu", no_gpu)
    assert gpu.main(["--json", str(tmp_path / "gpu.json")]) == 1
    shown = capsys.readouterr().err
    assert "nothing was measured: there is no NVIDIA driver here" in shown
    assert "pip install 'protoleak[tensorrt]'" in shown
    assert not [*tmp_path.iterdir()]


def test_where_the_engine_cannot_multiply_the_limit_comes_from_elsewhere_or_is_a_reason(
    played: Played, tiny_look_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> Any:
        raise EngineError("no space for matrices")

    bundle = Bundle.load(tiny_look_bundle)
    setup = played.setup(bundle, Settings(), gpu.make_faces(bundle, 8), Path())
    setup.open_stream_engine = refused
    monkeypatch.setattr(matrix_limit, "_by_torch", lambda *_: 2.0)
    assert matrix_limit.peak(setup, PLAYED, "fp16")[0] == matrix_limit.Peak(2.0, "torch")
    monkeypatch.setattr(matrix_limit, "_by_torch", refused)
    assert matrix_limit.peak(setup, PLAYED, "int8")[0] is None


def test_operations_are_counted_for_all_looks(tiny_bundle: Path, tiny_look_bundle: Path) -> None:
    one, three = (matrix_limit.operations(Bundle.load(path)) for path in (tiny_bundle, tiny_look_bundle))
    assert three["latent_encoder"] == pytest.approx(3 * one["latent_encoder"], rel=0.01)


@pytest.mark.parametrize(("precision", "operator"), [("fp16", b"Cast"), ("int8", b"QuantizeLinear")])
def test_a_precision_that_a_bundle_has_not_is_made_of_its_fp32_graphs(precision: str, operator: bytes) -> None:
    bundle = Bundle.load()
    made = graphs_of(bundle, precision, gpu.make_faces(bundle, 2))
    variant = bundle.variant("fp32")
    assert made[0].count(operator) > variant.latent_encoder.count(operator)
    # A backbone of statistics has no layer with weights, and stays in fp32.
    assert made[1].count(operator) >= variant.attributor.count(operator)
