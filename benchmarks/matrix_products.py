"""What a machine multiplies at all: products of matrices to measure it by, and how much of that a bundle asks for."""

from __future__ import annotations

import numpy as np

from protoleak.bundle.bundle import Bundle
from protoleak.bundle.graph_sizes import follow
from protoleak.bundle.onnx_model import FLOAT, UINT8, read_model
from protoleak.bundle.operators.base import Sized

CHAIN = 8  # products one after another: what goes in and comes out is then a small part of the time


def operations(bundle: Bundle) -> dict[str, float]:
    """Network → floating-point operations for one face: two for each multiply-add."""
    manifest, variant = bundle.manifest, bundle.variant("fp32")
    looks, side = len(manifest.preprocessing.looks), manifest.preprocessing.image_size
    encoder, attributor = read_model(variant.latent_encoder), read_model(variant.attributor)
    encoded = follow(encoder, [Sized(UINT8, (looks, side, side, 3))], looks)
    (z_t,) = attributor.inputs
    assert z_t.shape is not None  # the bundle was checked
    shape = tuple(length if isinstance(length, int) else 1 for length in z_t.shape)
    return {"latent_encoder": 2.0 * encoded.work, "attributor": 2.0 * follow(attributor, [Sized(FLOAT, shape)]).work}


def products(precision: str, side: int, rows: int | None = None) -> bytes:
    """x float32 [N, side] times a constant square matrix, CHAIN times over, in the precision, as ONNX.

    Args:
        rows: of each of N matrices, x being [N, rows, side] then; None for x itself.

    Raises:
        ImportError: onnx is not installed.
    """
    from onnx import TensorProto, helper, numpy_helper

    matrix = (np.random.default_rng(1).standard_normal((side, side)) / np.sqrt(side)).astype(np.float32)
    constants, nodes, at = {"w": matrix}, [], "x"
    if precision == "fp16":
        constants["w"] = matrix.astype(np.float16)
        nodes.append(helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16))
        at = "h"
    elif precision == "int8":
        step = np.float32(np.abs(matrix).max() / 127)
        constants = {"q": np.round(matrix / step).astype(np.int8), "step": step, "zero": np.int8(0)}
        constants["x_step"] = np.float32(0.03)
        nodes.append(helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["w"]))
    for index in range(CHAIN):
        if precision == "int8":
            nodes.append(helper.make_node("QuantizeLinear", [at, "x_step", "zero"], [f"q{index}"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"q{index}", "x_step", "zero"], [f"d{index}"]))
            at = f"d{index}"
        nodes.append(helper.make_node("MatMul", [at, "w"], [f"m{index}"]))
        at = f"m{index}"
    nodes.append(helper.make_node("Cast", [at], ["y"], to=TensorProto.FLOAT))
    body = helper.make_graph(
        nodes,
        precision,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *([] if rows is None else [rows]), side])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", *([] if rows is None else [rows]), side])],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())
