"""OpenVINO gives what ONNX Runtime gives, in the precision asked for, whatever the batch."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import protoleak
from protoleak.errors import EngineError, EngineUnavailable
from protoleak.runtime.engines import EngineOptions, Graph, open_engine

pytest.importorskip("openvino", reason="OpenVINO is an extra")
pytest.importorskip("onnx", reason="onnx makes the graphs")
from onnx import helper

from tests.runtime.engines.graphs import images, network
from tests.runtime.test_engines import CONVOLUTION, ELEMENTWISE, REDUCTION, graph
from tests.tiny_bundle import make_image


def outputs(engine: str, of: Graph, x: np.ndarray, options: EngineOptions | None = None) -> np.ndarray:
    return open_engine(engine, of, threads=1, options=options).run({"x": x})["y"]


# int8: a value that falls between two steps of 0.05 may be rounded either way.
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 2e-6), ("fp16", 5e-4), ("int8", 2e-3)])
def test_each_variant_agrees_with_onnxruntime(precision: str, tolerance: float) -> None:
    of, x = network(precision), images(3)
    np.testing.assert_allclose(outputs("openvino", of, x), outputs("onnxruntime", of, x), atol=tolerance)


@pytest.mark.parametrize(
    ("of", "shape"),
    [(ELEMENTWISE, (1001,)), (REDUCTION, (10, 6)), (CONVOLUTION, (30, 16, 16))],
    ids=["elementwise", "reduction", "convolution"],
)
def test_row_equals_the_same_image_alone_to_the_last_bit(of: Graph, shape: tuple[int, ...]) -> None:
    engine = open_engine("openvino", of, threads=2)
    x = np.random.default_rng(1).standard_normal((5, *shape)).astype(np.float32)
    alone = np.concatenate([engine.run({"x": x[index : index + 1]})["y"] for index in range(5)])
    np.testing.assert_array_equal(engine.run({"x": x})["y"], alone)


def test_float32_is_not_computed_in_bfloat16_unless_asked_for() -> None:
    """OpenVINO's own default would: bfloat16 keeps 8 bits, so its error is a thousand times that of float32."""
    of, x = network("fp32"), images(3)
    reference = outputs("onnxruntime", of, x)
    assert np.abs(outputs("openvino", of, x) - reference).max() < 2e-6
    engine = open_engine("openvino", of, threads=1)
    assert engine.describe().settings == {"batch": "one image at a time", "precision": "f32"}


def test_bfloat16_is_an_option_that_the_record_names() -> None:
    import openvino

    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bfloat16 arithmetic")
    of, x = network("fp32"), images(3)
    engine = open_engine("openvino", of, threads=1, options=EngineOptions(compute="bf16"))
    assert engine.describe().settings["precision"] == "bf16"
    difference = np.abs(engine.run({"x": x})["y"] - outputs("onnxruntime", of, x)).max()
    assert 1e-5 < difference < 1e-2  # 8 bits of values of about 0.1, averaged over 256 pixels


def test_bfloat16_is_refused_where_the_processor_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import protoleak.runtime.engines.openvino as module

    monkeypatch.setattr(module, "bf16_problem", lambda _: "This processor has no bfloat16 arithmetic")
    with pytest.raises(EngineUnavailable, match="no bfloat16"):
        open_engine("openvino", network("fp32"), options=EngineOptions(compute="bf16"))


def test_another_engine_takes_no_bfloat16() -> None:
    with pytest.raises(EngineUnavailable, match="onnxruntime computes in the types of the variant"):
        open_engine("onnxruntime", network("fp32"), options=EngineOptions(compute="bf16"))


def test_nan_is_an_error_whether_it_goes_in_or_comes_out() -> None:
    """OpenVINO's ReLU turns NaN into 0, so what goes in is looked at too."""
    engine = open_engine("openvino", network("fp32"))
    with pytest.raises(EngineError, match="attributor was given NaN or infinite values in 'x'"):
        engine.run({"x": np.full((1, 8, 16, 16), np.nan, np.float32)})
    root = open_engine("openvino", graph(helper.make_node("Sqrt", ["x"], ["y"])))
    with pytest.raises(EngineError, match="attributor gave 1 of 6 values of 'y' as NaN"):
        root.run({"x": np.array([[1, 1, 1], [1, -1, 1]], np.float32)})


def test_wrong_shape_is_an_error_that_names_the_stage_in_one_line() -> None:
    engine = open_engine("openvino", network("fp32"))
    with pytest.raises(EngineError, match=r"OpenVINO: 'x' is \[1, 8, 9, 16\].*takes \[1, 8, 16, 16\]") as caught:
        engine.run({"x": np.zeros((1, 8, 9, 16), np.float32)})
    assert "\n" not in str(caught.value)


def test_graph_that_cannot_be_read_is_an_error_in_one_line() -> None:
    with pytest.raises(EngineError, match=r"OpenVINO \S+ cannot load the attributor") as caught:
        open_engine("openvino", Graph("attributor", b"no model", ("y",)))
    assert "\n" not in str(caught.value)


def test_missing_output_is_named() -> None:
    with pytest.raises(EngineError, match="no output log_density"):
        open_engine("openvino", Graph("attributor", network("fp32").model, ("y", "log_density")))


def test_missing_package_gives_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineUnavailable, match=r'pip install "protoleak\[openvino\]"'):
        open_engine("openvino", network("fp32"))


def test_verdicts_are_those_of_onnxruntime(tiny_bundle: Path) -> None:
    images = [make_image(kind, seed) for kind in (0, 1, 2, None) for seed in (31, 32)]
    ours = protoleak.load(tiny_bundle, engine="openvino", threads=1)(images)
    reference = protoleak.load(tiny_bundle, engine="onnxruntime", threads=1)(images)
    for one, other in zip(ours, reference, strict=True):
        assert (one.label, one.nearest) == (other.label, other.nearest)
        assert one.log_density == pytest.approx(other.log_density, rel=1e-4, abs=1e-4)
        assert one.engine.name == "openvino"


def test_concurrent_runs_do_not_mix_their_images() -> None:
    from concurrent.futures import ThreadPoolExecutor

    engine = open_engine("openvino", network("fp32"), threads=1)
    batches = [images(2, seed) for seed in range(12)]
    alone = [engine.run({"x": batch})["y"] for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda batch: engine.run({"x": batch})["y"], batches))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
