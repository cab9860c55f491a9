"""Every engine is listed with what it needs, and a name is never answered with another engine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from protoleak.bundle.manifest import Manifest
from protoleak.bundle.writer import write_bundle
from protoleak.cli.app import main
from protoleak.errors import EngineUnavailable
from protoleak.runtime import configuration
from protoleak.runtime.engines import AUTO_ORDER, ENGINES, choose, open_engine, survey
from protoleak.runtime.engines import availability as module
from protoleak.runtime.engines.gpu import Gpu
from protoleak.runtime.engines.openvino import core_of

pytest.importorskip("onnx", reason="onnx makes the graphs")
from tests.calibrated_bundle import INSTRUCTIONS, calibrated_files
from tests.runtime.engines.graphs import network

ORIN = Gpu("Orin", "8.7", 8 * 2**30, integrated=True)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: int = 0) -> Gpu:
        raise EngineUnavailable("there is no NVIDIA driver here")

    monkeypatch.setattr("protoleak.runtime.engines.gpu.find_gpu", none)


def test_every_engine_is_listed_and_those_that_cannot_run_say_what_to_install() -> None:
    found = survey()
    assert [item.engine for item in found] == list(ENGINES)
    assert found[-1].runs  # ONNX Runtime on the CPU is always there
    for item in found:
        assert item.detail
        if not item.runs:
            assert "install" in item.detail, item


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-rtx", "onnxruntime-tensorrt", "onnxruntime-cuda"])
def test_engine_for_a_gpu_that_is_asked_for_by_name_is_an_error_without_one(name: str) -> None:
    with pytest.raises(EngineUnavailable):
        open_engine(name, network("fp32"))


@pytest.mark.usefixtures("no_gpu")
def test_auto_without_a_gpu_takes_openvino_and_without_that_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is an extra")
    assert choose("auto")[0] == "openvino"
    monkeypatch.setitem(sys.modules, "openvino", None)
    name, why = choose("auto")
    assert name == "onnxruntime"
    assert "neither can OpenVINO" in why


@pytest.mark.usefixtures("no_gpu")
def test_openvino_without_its_plugin_for_processors_is_no_engine_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a program that was frozen without what OpenVINO opens by name."""
    openvino = pytest.importorskip("openvino", reason="OpenVINO is an extra")

    class Core:
        def get_property(self, device: str, name: str) -> str:
            raise RuntimeError(f'Exception from core.cpp:268:\nDevice with "{device}" name is not registered, {name}')

    monkeypatch.setattr(openvino, "Core", Core)
    core_of.cache_clear()
    try:
        found = module.availability("openvino")
        assert not found.runs
        assert 'Device with "CPU" name is not registered' in found.detail
        assert "pip install" in found.detail
        assert choose("auto")[0] == "onnxruntime"
    finally:
        core_of.cache_clear()


def test_auto_takes_the_first_of_its_order_that_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_has_gpu", lambda _: True)
    for expected in AUTO_ORDER:
        usable = AUTO_ORDER[AUTO_ORDER.index(expected) :]
        monkeypatch.setattr(
            module, "availability", lambda name, _, usable=usable: module.Availability(name, name in usable, "x")
        )
        assert choose("auto")[0] == expected


def test_name_is_taken_as_it_is_even_where_it_cannot_run() -> None:
    assert choose("tensorrt")[0] == "tensorrt"


def test_rtx_on_a_gpu_that_it_is_not_for_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is an extra")
    monkeypatch.setattr("protoleak.runtime.engines.gpu.find_gpu", lambda _=0: ORIN)
    found = module.availability("tensorrt-rtx")
    assert not found.runs
    assert "Orin has 8.7: use tensorrt" in found.detail


@pytest.mark.usefixtures("no_gpu")
def test_rtx_without_a_gpu_can_still_build() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is an extra")
    assert module.availability("tensorrt-rtx").builds


def test_command_lists_engines_and_explains_its_choices(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engines", str(tiny_bundle)]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ENGINES)
    assert f"auto takes {choose('auto')[0]}: " in printed
    assert "of these auto takes fp32 exact: it stands first" in printed


def test_command_gives_the_same_as_json(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engines", str(tiny_bundle), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [item["engine"] for item in report["engines"]] == list(ENGINES)
    assert report["auto"]["engine"] == choose("auto")[0]
    assert report["variants"]["auto"] == "fp32"


@pytest.mark.usefixtures("no_gpu")
def test_command_explains_which_compute_is_taken_with_the_numbers(
    tiny_files: tuple[Manifest, dict[str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is an extra")
    monkeypatch.setattr(configuration, "compute_problem", lambda *_: "this processor has no bfloat16 arithmetic")
    write_bundle(tmp_path / "b", *calibrated_files(tiny_files))
    assert main(["engines", str(tmp_path / "b"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["computes"]
    assert report["auto"] == "exact"
    assert [(one["compute"], one["taken"]) for one in report["candidates"]] == [("exact", True), ("bf16", False)]
    assert report["candidates"][1]["left_out"] == "this processor has no bfloat16 arithmetic"
    assert report["exporter"]["instructions"] == INSTRUCTIONS
    monkeypatch.setattr(configuration, "compute_problem", lambda *_: None)
    monkeypatch.setattr(configuration, "instructions", lambda: frozenset(INSTRUCTIONS))
    assert main(["engines", str(tmp_path / "b")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "of these auto takes fp32 bf16: it was the fastest where the bundle was exported" in printed
    assert "(fp32 exact 10 ms, fp32 bf16 5 ms)" in printed


@pytest.mark.usefixtures("no_gpu")
def test_screen_with_an_engine_that_is_not_here_is_one_line(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["screen", str(tmp_path), "--bundle", str(tiny_bundle), "--engine", "onnxruntime-cuda"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
