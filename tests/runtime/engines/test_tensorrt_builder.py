"""Plans are really built, by TensorRT-RTX, which needs no GPU for that; what parser and builder reported is checked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from protoleak.cli.app import main
from protoleak.errors import EngineError, EngineUnavailable
from protoleak.runtime.engines import EngineOptions, Graph
from protoleak.runtime.engines.gpu import Gpu

trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is an extra")
pytest.importorskip("onnx", reason="onnx makes the graphs")
from onnx import helper  # noqa: E402

from protoleak.runtime.engines.tensorrt.builder import (  # noqa: E402
    BuiltPlan,
    _timing_cache,
    build_plan,
    log_class,
)
from protoleak.runtime.engines.tensorrt.library import Library, load_library  # noqa: E402
from protoleak.runtime.engines.tensorrt.settings import plan_key  # noqa: E402
from tests.runtime.engines.graphs import network  # noqa: E402
from tests.runtime.test_engines import graph as one_operator  # noqa: E402

CAPABILITIES = ("8.6", "8.9", "12.0")


@pytest.fixture(scope="module")
def library() -> Library:
    return load_library("tensorrt-rtx")


def built(library: Library, graph: Graph, options: EngineOptions | None = None, timings: bytes = b"") -> BuiltPlan:
    options = options or EngineOptions()
    return build_plan(library, graph, plan_key(library, graph, options, CAPABILITIES), timings, options.progress)


@pytest.mark.parametrize(
    ("precision", "narrow"), [("fp32", {"fp32"}), ("fp16", {"fp32", "fp16"}), ("int8", {"fp32", "int8"})]
)
def test_layers_compute_in_the_types_of_the_graph(library: Library, precision: str, narrow: set[str]) -> None:
    """Strongly typed: nothing but the graph decides. Both convolutions of the network count."""
    plan = built(library, network(precision))
    assert set(plan.layers) == narrow
    assert plan.layers[precision] >= 2
    assert len(plan.data) > 10_000


def test_half_precision_plan_is_smaller(library: Library) -> None:
    assert len(built(library, network("fp16")).data) < len(built(library, network("fp32")).data)


def test_operator_that_tensorrt_has_not_is_named(library: Library) -> None:
    with pytest.raises(EngineError, match=r"cannot read the attributor.*NoSuchOperator") as caught:
        built(library, one_operator(helper.make_node("NoSuchOperator", ["x"], ["y"])))
    assert "\n" not in str(caught.value)


def test_file_that_is_no_model_is_an_error_in_one_line(library: Library) -> None:
    with pytest.raises(EngineError, match="cannot read the attributor") as caught:
        built(library, Graph("attributor", b"no model", ("y",)))
    assert "\n" not in str(caught.value)


def test_open_dimension_beside_the_batch_is_refused_by_name(library: Library) -> None:
    with pytest.raises(EngineError, match=r"more than the batch of 'x' is open"):
        built(library, one_operator(helper.make_node("Relu", ["x"], ["y"]), shape=("height", 4)))  # type: ignore[arg-type]


def test_progress_is_told_and_what_it_raises_ends_the_build(library: Library) -> None:
    told: list[tuple[str, int, int]] = []
    built(library, network("fp32"), EngineOptions(progress=lambda *step: told.append(step)))
    assert {phase for phase, _, _ in told} >= {"Building engine"}
    assert all(0 <= done <= total for _, done, total in told)
    assert any(done == total > 0 for phase, done, total in told if phase == "Building engine")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built(library, network("fp32"), EngineOptions(progress=interrupt))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorRT-RTX has it for compatibility alone
def test_timing_cache_that_is_none_is_replaced_by_an_empty_one(library: Library) -> None:
    config = trt.Builder(log_class(trt)()).create_builder_config()
    cache = _timing_cache(config, b"no timing cache at all")
    assert cache is not None
    assert _timing_cache(config, bytes(cache.serialize())) is not None
    assert built(library, network("fp32")).timings == b""  # TensorRT-RTX times nothing


@pytest.mark.parametrize("capability", ["8.7", "nine", "8", "8.90"])
def test_compute_capability_that_cannot_be_built_for_lists_those_that_can(library: Library, capability: str) -> None:
    with pytest.raises(EngineUnavailable, match=r"7\.5, 8\.0, 8\.6, 8\.9, 12\.0"):
        plan_key(library, network("fp32"), EngineOptions(), (capability,))


def test_profile_that_is_none_is_refused(library: Library) -> None:
    with pytest.raises(EngineUnavailable, match="optimum of 4 and maximum of 2"):
        plan_key(library, network("fp32"), EngineOptions(batch_optimum=4, batch_maximum=2), CAPABILITIES)
    with pytest.raises(EngineUnavailable, match="workspace of 0"):
        plan_key(library, network("fp32"), EngineOptions(workspace_mib=0), CAPABILITIES)


def test_plain_tensorrt_builds_on_its_own_gpu_alone(library: Library) -> None:
    plain = replace(library, name="tensorrt")
    with pytest.raises(EngineUnavailable, match="leave --compute-capability out"):
        plan_key(plain, network("fp32"), EngineOptions(), ("8.9",))
    orin = Gpu("Orin", "8.7", 2**33, integrated=True)
    key = plan_key(plain, network("fp32"), EngineOptions(), orin)
    assert (key.identity.gpu, key.compute_capabilities) == ("Orin", ("8.7",))


def test_flags_keep_float32_whole_and_rows_apart(library: Library) -> None:
    flags = plan_key(library, network("fp32"), EngineOptions(), CAPABILITIES).identity.flags
    assert flags == ("+DISTRIBUTIVE_INDEPENDENCE", "-TF32")


def test_version_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trt, "__version__", "0.9.1")
    with pytest.raises(EngineUnavailable, match=r"tensorrt-rtx 0\.9\.1 is too old, 1\.0 is needed"):
        load_library("tensorrt-rtx")


def test_command_builds_the_tiny_bundle_and_finds_it_the_second_time(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROTOLEAK_CACHE", str(tmp_path))
    command = ["build-plans", str(tiny_bundle), "--engine", "tensorrt-rtx", "--compute-capability", "12.0,8.6,8.9"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert printed.count("built in") == 2
    assert "compute capability 8.6, 8.9, 12.0" in printed
    assert main(command) == 0
    assert capsys.readouterr().out.count("in the cache already") == 2
    records = [json.loads(path.read_text()) for path in (tmp_path / "plans").glob("*.json")]
    assert {item["stage"] for item in records} == {"latent encoder", "attributor"}
    assert all(item["layers_from"] == "builder" and set(item["layers"]) == {"fp32"} for item in records)
    assert main([*command, "--rebuild"]) == 0
    assert capsys.readouterr().out.count("built in") == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--engine", "openvino"], "'openvino' is not one of 'tensorrt', 'tensorrt-rtx'"),
        (["--engine", "tensorrt-rtx", "--compute-capability", "8.7"], "doesn't build for compute capability '8.7'"),
        (
            ["--engine", "tensorrt-rtx", "--compute-capability", "8.6", "--variants", "fp8"],
            "no variant 'fp8', only fp32",
        ),
    ],
)
def test_command_says_in_one_line_what_cannot_be_built(
    tiny_bundle: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(["build-plans", str(tiny_bundle), *arguments]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_command_that_cannot_keep_its_plans_says_so_and_fails(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PROTOLEAK_CACHE", str(tmp_path / "file"))
    assert main(["build-plans", str(tiny_bundle), "--engine", "tensorrt-rtx", "--compute-capability", "8.6"]) == 1
    assert "cannot be kept" in capsys.readouterr().err
