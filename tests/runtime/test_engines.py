"""An engine gives finite numbers that do not depend on the batch, or an error that names the stage."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from protoleak.environment.instructions import instructions
from protoleak.errors import EngineError, EngineUnavailable
from protoleak.runtime.engines import EngineOptions, Graph, open_engine
from protoleak.runtime.engines import onnxruntime as onnxruntime_engine

onnx = pytest.importorskip("onnx", reason="onnx makes the graphs")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def graph(*nodes: object, tensors: tuple[object, ...] = (), shape: tuple[int, ...] = (3,)) -> Graph:
    body = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        list(tensors),
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return Graph("attributor", model.SerializeToString(), ("y",))


# Three graphs for which ONNX Runtime's own batches were measured to differ from single images (1.32, x86-64):
# logarithms of an odd number of values, a sum over an outer axis, and a convolution of 30 channels.
ELEMENTWISE = graph(
    helper.make_node("Abs", ["x"], ["positive"]),
    helper.make_node("Log", ["positive"], ["y"]),
    shape=(1001,),
)
REDUCTION = graph(
    helper.make_node("ReduceSum", ["x", "axis"], ["y"], keepdims=0),
    tensors=(numpy_helper.from_array(np.array([1], np.int64), "axis"),),
    shape=(10, 6),
)
CONVOLUTION = graph(
    helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1], strides=[2, 2]),
    tensors=(
        numpy_helper.from_array(np.random.default_rng(0).standard_normal((33, 30, 3, 3)).astype(np.float32), "w"),
    ),
    shape=(30, 16, 16),
)


@pytest.mark.parametrize(
    ("of", "shape"),
    [(ELEMENTWISE, (1001,)), (REDUCTION, (10, 6)), (CONVOLUTION, (30, 16, 16))],
    ids=["elementwise", "reduction", "convolution"],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_row_equals_the_same_image_alone_to_the_last_bit(of: Graph, shape: tuple[int, ...], threads: int) -> None:
    engine = open_engine("onnxruntime", of, threads=threads)
    x = np.random.default_rng(1).standard_normal((8, *shape)).astype(np.float32)
    alone = np.concatenate([engine.run({"x": x[i : i + 1]})["y"] for i in range(8)])
    for size in (2, 3, 8):
        batched = np.concatenate([engine.run({"x": x[i : i + size]})["y"] for i in range(0, 8, size)])
        np.testing.assert_array_equal(batched, alone, err_msg=f"batch of {size}")


def test_threads_that_sleep_between_runs_compute_the_same_bits() -> None:
    x = np.random.default_rng(1).standard_normal((2, 30, 16, 16)).astype(np.float32)
    spinning, sleeping = (
        open_engine("onnxruntime", CONVOLUTION, threads=2, options=EngineOptions(spinning=spins)).run({"x": x})["y"]
        for spins in (True, False)
    )
    np.testing.assert_array_equal(spinning, sleeping)


def test_threads_take_no_processor_time_once_a_run_is_over() -> None:
    """They would spin for some 40 ms, on the cores that the next graph's threads need."""
    engine = open_engine("onnxruntime", CONVOLUTION, threads=2)
    x = np.random.default_rng(1).standard_normal((1, 30, 16, 16)).astype(np.float32)
    spent = []
    for _ in range(8):
        engine.run({"x": x})
        before = time.process_time()
        time.sleep(0.04)
        spent.append(time.process_time() - before)
    assert sorted(spent)[-2] < 0.002  # one may have met a collection of garbage


def quantised_products() -> Graph:
    """Eight-bit weights and values at the ends of their ranges: 2 · 255 · 127 is far beyond 16 bits."""
    scale, zero = numpy_helper.from_array(np.float32(0.1), "scale"), numpy_helper.from_array(np.int8(0), "zero")
    weights = numpy_helper.from_array(np.full((8, 16, 1, 1), 127, np.int8), "w")
    return graph(
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["dw"]),
        helper.make_node("Conv", ["d", "dw"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "wide", "zero"], ["cq"]),
        helper.make_node("DequantizeLinear", ["cq", "wide", "zero"], ["y"]),
        tensors=(scale, zero, weights, numpy_helper.from_array(np.float32(25.0), "wide")),
        shape=(16, 4, 4),
    )


@pytest.mark.parametrize("found", [frozenset({"avx2"}), frozenset({"avx2", "avx512_vnni"}), None])
def test_int8_products_do_not_saturate_whatever_the_processor_has(
    found: frozenset[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime_engine, "instructions", lambda: found)
    if found == {"avx2", "avx512_vnni"} and onnxruntime_engine.EXACT_INT8.isdisjoint(instructions() or ()):
        pytest.skip("this processor has no VNNI, whose kernels would be taken")
    x = np.full((1, 16, 4, 4), 12.7, np.float32)
    given = open_engine("onnxruntime", quantised_products(), threads=1).run({"x": x})["y"]
    # 16 products of 12.7 · 12.7 are 2580.6, or 103 steps of 25; sums that saturate would be less than 40 % of that.
    np.testing.assert_allclose(given, 2575.0)


def test_nan_is_an_error_that_names_stage_and_output() -> None:
    engine = open_engine("onnxruntime", graph(helper.make_node("Sqrt", ["x"], ["y"])))
    with pytest.raises(EngineError, match=r"attributor gave 1 of 6 values of 'y' as NaN"):
        engine.run({"x": np.array([[1, 1, 1], [1, -1, 1]], np.float32)})


def test_infinity_is_an_error_too() -> None:
    engine = open_engine("onnxruntime", graph(helper.make_node("Exp", ["x"], ["y"])))
    with pytest.raises(EngineError, match="infinite"):
        engine.run({"x": np.full((1, 3), 1000, np.float32)})


def test_input_of_another_shape_is_an_error_that_names_the_stage() -> None:
    engine = open_engine("onnxruntime", graph(helper.make_node("Relu", ["x"], ["y"])))
    with pytest.raises(EngineError, match="attributor failed") as caught:
        engine.run({"x": np.zeros((1, 4), np.float32)})
    assert "\n" not in str(caught.value)


def test_graph_that_the_engine_cannot_load_is_an_error_in_one_line() -> None:
    with pytest.raises(EngineError, match="cannot load the attributor") as caught:
        open_engine("onnxruntime", graph(helper.make_node("NoSuchOperator", ["x"], ["y"])))
    assert "\n" not in str(caught.value)


def test_missing_output_is_named() -> None:
    relu = graph(helper.make_node("Relu", ["x"], ["y"]))
    with pytest.raises(EngineError, match="no output log_density"):
        open_engine("onnxruntime", Graph("attributor", relu.model, ("y", "log_density")))


def test_unknown_engine_lists_those_there_are() -> None:
    with pytest.raises(EngineUnavailable, match=r"'warp'.*auto.*onnxruntime"):
        open_engine("warp", ELEMENTWISE)


def test_missing_engine_gives_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineUnavailable, match="pip install onnxruntime"):
        open_engine("onnxruntime", ELEMENTWISE)


def test_description_says_what_really_runs() -> None:
    import onnxruntime

    described = open_engine("onnxruntime", ELEMENTWISE).describe()
    assert described.name == "onnxruntime"
    assert described.device == "CPUExecutionProvider"
    assert described.versions["onnxruntime"] == onnxruntime.__version__


def test_no_thread_at_all_is_refused() -> None:
    with pytest.raises(EngineUnavailable, match="0 threads"):
        open_engine("onnxruntime", ELEMENTWISE, threads=0)
