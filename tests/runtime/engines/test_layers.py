"""The share of layers per precision is read from what each TensorRT version says of an engine."""

from __future__ import annotations

import json

import pytest

from protoleak.runtime.engines.tensorrt.layers import (
    is_layer_report,
    precision_of,
    precisions_of_inspector,
    precisions_of_report,
)

TENSORRT_10 = {
    "Layers": [
        {
            "Name": "cast",
            "LayerType": "Reformat",
            "Inputs": [{"Name": "x", "Format/Datatype": "Row major linear FP32"}],
            "Outputs": [{"Name": "h", "Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}],
        },
        {
            "Name": "conv",
            "LayerType": "CaskConvolution",
            "Inputs": [{"Name": "h", "Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}],
            "Outputs": [{"Name": "c", "Format/Datatype": "Half"}],
        },
        {
            "Name": "quantised",
            "Inputs": [{"Name": "q", "Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"}],
            "Outputs": [{"Name": "y", "Format/Datatype": "Float"}],
        },
        "a layer whose details the plan doesn't hold",
    ],
    "Bindings": ["x", "y"],
}
TENSORRT_11 = {
    "Layers": [
        {
            "Name": "pixels",
            "Inputs": [{"Name": "image", "Datatype": "UInt8", "Format": "(Linear) Row major linear format"}],
            "Outputs": [{"Name": "f", "Datatype": "Float", "Format": "(Linear) Row major linear format"}],
        },
        {"Name": "matmul", "Inputs": [{"Name": "f", "Datatype": "BFloat16", "Format": "x"}], "Outputs": []},
    ],
    "I/O Tensors": [{"Name": "image", "DataType": "UInt8"}],
}
REPORT = """Layers:
Name: shape, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, Metadata:
Name: cast, LayerType: kgen, Inputs: [ { Name: image, Dimensions: [-1,64,64,3], Datatype: UInt8, Format: x }], \
Constants: [ { Name: c, Dimensions: [1], Datatype: Half, Format: x }], \
Outputs: [ { Name: f, Dimensions: [-1,3,64,64], Datatype: Float, Format: x }], TacticName: y, Metadata: [ONNX Layer: a]
Name: conv, LayerType: correlation, Inputs: [ { Name: f, Dimensions: [-1,3,64,64], Datatype: Int8, Format: x }], \
Constants: [], Outputs: [ { Name: z0, Dimensions: [-1,4,8,8], Datatype: Half, Format: x }], TacticName: y

I/O Tensors:
 Name: z0, IOMode: Output, DataType: Half, Dimensions: [-1,4,8,8]
"""


def test_inspector_of_tensorrt_10() -> None:
    assert precisions_of_inspector(json.dumps(TENSORRT_10)) == {"fp32": 1, "fp16": 1, "int8": 1}


def test_inspector_of_tensorrt_11() -> None:
    assert precisions_of_inspector(json.dumps(TENSORRT_11)) == {"fp32": 1, "bf16": 1}


@pytest.mark.parametrize("text", ["", "not json", "[]", json.dumps({"Layers": ["name only"]})])
def test_inspector_that_tells_nothing_is_no_error(text: str) -> None:
    assert precisions_of_inspector(text) == {}


def test_report_of_the_builder_counts_by_inputs_and_ignores_constants() -> None:
    assert is_layer_report(REPORT)
    assert precisions_of_report(REPORT) == {"fp32": 1, "int8": 1}
    assert not is_layer_report("Layer(Convolution): conv, Tactic: 0")


@pytest.mark.parametrize(
    ("words", "precision"),
    [
        ("UInt8", None),
        ("Int8", "int8"),
        ("Int32", None),
        ("Bool", None),
        ("Float", "fp32"),
        ("Half", "fp16"),
        ("BFloat16", "bf16"),
        ("Row major linear BF16", "bf16"),
        ("FP8", "fp8"),
        ("Channel major FP16 format", "fp16"),
    ],
)
def test_words_for_types(words: str, precision: str | None) -> None:
    assert precision_of(words) == precision
