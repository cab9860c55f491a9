"""An encoder that rounds its input to uint8 and back: TensorRT has no such tensors inside a graph."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from protoleak.export.graphs import export_latent_encoder
from protoleak.model.onnx_latent_encoder import OnnxLatentEncoder, OnnxSettings

SIDE = 64


def _encoder(detour: bool) -> OnnxLatentEncoder:
    pooled = [helper.make_node("AveragePool", ["pixels"], ["latent"], kernel_shape=[8, 8], strides=[8, 8])]
    before = [helper.make_node("Round", ["x"], ["whole" if detour else "pixels"])]
    if detour:
        before += [
            helper.make_node("Cast", ["whole"], ["narrow"], to=TensorProto.UINT8),
            helper.make_node("Cast", ["narrow"], ["pixels"], to=TensorProto.FLOAT),
        ]
    graph = helper.make_graph(
        before + pooled,
        "encoder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["batch", 3, SIDE // 8, SIDE // 8])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return OnnxLatentEncoder(model.SerializeToString(), OnnxSettings(input_range=(0.0, 255.0)))


def test_the_detour_is_left_out_and_the_latents_are_the_same() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    outputs = []
    for detour in (True, False):
        exported = export_latent_encoder(_encoder(detour), SIDE)
        graph = onnx.load_from_string(exported).graph
        narrowed = [node for node in graph.node for each in node.attribute if (each.name, each.i) == ("to", 2)]
        assert not narrowed
        session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
        outputs.append(session.run(["z0"], {"image": images})[0])
    np.testing.assert_array_equal(outputs[0], outputs[1])
