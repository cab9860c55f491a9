"""A run that takes too long is stopped and is one line; the engine can be used again."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from protoleak.errors import EngineError
from protoleak.runtime.engines import Graph, base, open_engine

pytest.importorskip("onnx", reason="onnx makes the graph")
from onnx import TensorProto, helper, numpy_helper


def slow_graph() -> Graph:
    """float32 [N, 512, 512] → its 400th power by a matrix: seconds on one thread."""
    weight = numpy_helper.from_array(np.eye(512, dtype=np.float32), "w")
    names = ["x", *(f"t{index}" for index in range(399)), "y"]
    nodes = [helper.make_node("MatMul", [a, "w"], [b]) for a, b in pairwise(names)]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 512, 512]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return Graph("latent encoder", model.SerializeToString(), ("y",))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_run_beyond_the_limit_is_stopped(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    x = np.ones((1, 512, 512), np.float32)
    opened = open_engine(engine, slow_graph(), threads=1)
    monkeypatch.setattr(base, "RUN_SECONDS", 0.02)
    with pytest.raises(EngineError, match=r"latent encoder took longer than 0\.02 s"):
        opened.run({"x": x})
    monkeypatch.setattr(base, "RUN_SECONDS", 600.0)
    np.testing.assert_array_equal(opened.run({"x": x})["y"], x)
    opened.close()


def test_an_engine_that_reports_another_graph_than_was_checked_is_refused() -> None:
    graph = slow_graph()
    renamed = Graph(graph.stage, graph.model.replace(b"\x0a\x01x", b"\x0a\x01q"), graph.outputs)
    session_of_another = [base.Declared("x", TensorProto.FLOAT, (None, 512, 512))]
    with pytest.raises(EngineError, match="sees another latent encoder than was checked"):
        base.check_same_graph(renamed, "an engine", session_of_another, [])
