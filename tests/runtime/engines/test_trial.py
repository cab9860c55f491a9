"""A graph that nobody can vouch for is opened in a process with limits first; beyond them it costs one line."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from protoleak.bundle.bundle import Bundle, write_bundle
from protoleak.bundle.manifest import Manifest
from protoleak.bundle.signature import Signer
from protoleak.errors import EngineError
from protoleak.isolation.limits import Limits
from protoleak.runtime import opening
from protoleak.runtime.engines import EngineOptions, Graph, trial
from protoleak.runtime.engines.trial import try_opening
from protoleak.runtime.pipeline import ImagePipeline
from tests.tiny_bundle import make_image

onnx = pytest.importorskip("onnx", reason="onnx makes the graphs")
pytest.importorskip("resource", reason="there are no limits for processes here")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

ENCODER = "variants/fp32/latent_encoder.onnx"
PATIENT = replace(trial.LIMITS, processor_seconds=120, wall_seconds=300.0)  # tests share processors


@pytest.fixture
def heavy(tiny_files: tuple[Manifest, dict[str, bytes]], tmp_path: Path) -> Path:
    """A sound bundle whose latent encoder drags 40 MB of weights along, which change nothing."""
    manifest, files = tiny_files
    model = onnx.load_model_from_string(files[ENCODER])
    weights = np.random.default_rng(0).standard_normal((10, 2**20)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "ballast"))
    path = tmp_path / "heavy"
    write_bundle(path, manifest, {**files, ENCODER: model.SerializeToString()})
    return path


def folding(steps: int) -> Graph:
    """A small graph for which an engine multiplies matrices of a thousand rows when it opens it."""
    nodes, last = [], "w"
    for index in range(steps):
        nodes.append(helper.make_node("MatMul", [last, "w"], [f"product_{index}"]))
        last = f"product_{index}"
    nodes += [
        helper.make_node("ReduceMax", [last], ["most"], keepdims=0),
        helper.make_node("Mul", ["x", "most"], ["y"]),
    ]
    body = helper.make_graph(
        nodes,
        "folding",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.full((1000, 1000), 1e-3, np.float32), "w")],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Graph("attributor", model.SerializeToString(), ("y",))


def test_a_large_bundle_is_tried_and_judges_as_without(
    heavy: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def watched(engine: str, graphs: tuple[Graph, ...], options: EngineOptions, *, beside: int) -> None:
        assert 0 < beside < 2**20
        try_opening(engine, graphs, options, beside=beside, limits=PATIENT)
        tried.extend(graph.stage for graph in graphs)

    monkeypatch.setattr(opening, "try_opening", watched)
    image = make_image(0, 1)
    with ImagePipeline(tiny_bundle, engine="onnxruntime", threads=1) as light:
        expected = light(image)[0].log_density
    assert tried == []
    with ImagePipeline(heavy, engine="onnxruntime", threads=1) as pipe:
        assert pipe(image)[0].log_density == expected
    assert tried == ["latent encoder", "attributor"]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (replace(PATIENT, memory=2**20), "more than 1 MB of memory"),
        (replace(PATIENT, wall_seconds=0.01), "more than 0.01 s"),
        (replace(PATIENT, processor_seconds=0), "of processor time"),
    ],
    ids=["memory", "wall time", "processor time"],
)
def test_a_graph_that_takes_too_much_to_open_costs_one_line(limits: Limits, reason: str) -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH112, PTH208
    with pytest.raises(EngineError, match=f"attributor cannot be opened in onnxruntime: .*{reason}") as caught:
        try_opening("onnxruntime", [folding(400)], EngineOptions(), limits=limits)
    assert "\n" not in str(caught.value)
    if before:
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_what_the_engine_says_comes_back() -> None:
    model = onnx.load_model_from_string(folding(1).model)
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(EngineError, match="cannot load the attributor"):
        try_opening(
            "onnxruntime", [Graph("attributor", model.SerializeToString(), ("y",))], EngineOptions(), limits=PATIENT
        )


def test_a_bundle_signed_by_somebody_trusted_is_not_tried(heavy: Path) -> None:
    bundle = Bundle.load(heavy)
    assert bundle.to_be_tried("fp32")
    bundle.signer = Signer("00", checked=True, trusted=False)
    assert bundle.to_be_tried("fp32")
    bundle.signer = Signer("00", checked=True, trusted=True)
    assert not bundle.to_be_tried("fp32")
