"""A latent encoder that comes as an ONNX file: put behind the bundle's preprocessing, with a dynamic batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from protoleak.errors import CheckpointError, first_line
from protoleak.export.onnx_graph import IR_VERSION
from protoleak.model.latent_encoder import OnnxLatentEncoder

# A batch may be summed in another order than a single image; images that mix differ in every digit.
BATCH_TOLERANCE = 1e-4


def with_preprocessing(encoder: OnnxLatentEncoder, image_size: int) -> bytes:
    """Puts uint8 [N, S, S, 3] → float [N, 3, S, S] in the encoder's own range before an ONNX encoder, and the scaling
    factor behind it, and makes its batch dynamic."""
    import onnx
    from onnx import TensorProto, compose, helper, numpy_helper

    model = onnx.load_from_string(encoder.model)
    model.ir_version = min(model.ir_version, IR_VERSION)
    if encoder.input_range == (0.0, 255.0):
        _leave_whole_numbers_as_floats(model.graph)
    latent_shape: list[str | int | None] = ["batch", *encoder.latent_shape(image_size)]
    # By name: files of old exporters list their weights among the inputs, and others give more than the latent.
    source = next(value for value in model.graph.input if value.name == encoder.input_name)
    result = next(value for value in model.graph.output if value.name == encoder.output_name)
    for value in (source, result):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].ClearField("dim_value")
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]  # shapes of a fixed batch would contradict the dynamic one
    source_type, result_type = source.type.tensor_type.elem_type, result.type.tensor_type.elem_type
    low, high = encoder.input_range
    constants: Mapping[str, float] = {
        "input_scale": (high - low) / 255.0,
        "input_offset": low,
        "latent_scale": encoder.scaling,
    }
    tensors = [numpy_helper.from_array(np.float32(value), name) for name, value in constants.items()]
    planes: list[str | int | None] = ["batch", 3, image_size, image_size]
    before = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["image_float"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["image_float"], ["image_planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Mul", ["image_planes", "input_scale"], ["image_scaled"]),
            helper.make_node("Add", ["image_scaled", "input_offset"], ["image_in_range"]),
            helper.make_node("Cast", ["image_in_range"], ["encoder_input"], to=source_type),
        ],
        "preprocessing",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", image_size, image_size, 3])],
        [helper.make_tensor_value_info("encoder_input", source_type, planes)],
        tensors[:2],
    )
    after = helper.make_graph(
        [
            helper.make_node("Cast", ["latent"], ["latent_float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["latent_float", "latent_scale"], ["z0"]),
        ],
        "scaling",
        [helper.make_tensor_value_info("latent", result_type, latent_shape)],
        [helper.make_tensor_value_info("z0", TensorProto.FLOAT, latent_shape)],
        tensors[2:],
    )
    opsets, versions = model.opset_import, {"ir_version": model.ir_version}
    source_name, result_name = f"encoder/{source.name}", f"encoder/{result.name}"
    model = compose.add_prefix(model, "encoder/")
    first = helper.make_model(before, opset_imports=opsets, **versions)
    last = helper.make_model(after, opset_imports=opsets, **versions)
    merged = compose.merge_models(first, model, io_map=[("encoder_input", source_name)], outputs=[result_name])
    merged = compose.merge_models(merged, last, io_map=[(result_name, "latent")], outputs=["z0"])
    return bytes(merged.SerializeToString())


def check_batch(model: bytes, image_size: int) -> None:
    """Raises CheckpointError unless two images together give what each gives alone.

    The graph of an encoder with a fixed batch may hold that batch as a constant, in a Reshape for instance; only a run
    shows it, and the runtime's own engine never runs more than one image.
    """
    import onnxruntime

    images = np.random.Generator(np.random.Philox(0)).integers(0, 256, (2, image_size, image_size, 3), dtype=np.uint8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is in the exception
    remedy = "export the encoder to ONNX again with a dynamic batch"
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        alone = np.concatenate([session.run(["z0"], {"image": images[i : i + 1]})[0] for i in range(2)])
    except Exception as error:  # ONNX Runtime's exceptions have no common base but this
        raise CheckpointError(
            f"the ONNX latent encoder does not run behind the preprocessing: {first_line(error)}"
        ) from error
    try:
        together = session.run(["z0"], {"image": images})[0]
    except Exception as error:
        raise CheckpointError(
            f"the ONNX latent encoder has a fixed batch that cannot be made dynamic: {remedy} ({first_line(error)})"
        ) from error
    if together.shape != alone.shape or np.abs(together - alone).max() > BATCH_TOLERANCE * np.abs(alone).max():
        raise CheckpointError(
            f"the ONNX latent encoder has a fixed batch that cannot be made dynamic: two images together give "
            f"{list(together.shape)} and other latents than each alone ({list(alone.shape)}): {remedy}"
        )


def _leave_whole_numbers_as_floats(graph: Any) -> None:
    """Takes out Round → Cast to uint8 → Cast to float of a graph whose input lies in 0…255: TensorRT has no uint8
    inside a graph, and the rounded floats are the same numbers.

    Args:
        graph: an onnx.GraphProto, changed in place.
    """
    from onnx import TensorProto

    def target(node: Any) -> int | None:
        return next((each.i for each in node.attribute if each.name == "to"), None) if node.op_type == "Cast" else None

    made_by = {name: node for node in graph.node for name in node.output}
    for narrow in [node for node in graph.node if target(node) == TensorProto.UINT8]:
        source = made_by.get(narrow.input[0])
        users = [node for node in graph.node if narrow.output[0] in node.input]
        if source is None or source.op_type != "Round" or any(target(node) != TensorProto.FLOAT for node in users):
            continue
        same = {user.output[0]: narrow.input[0] for user in users}
        if any(output.name in {narrow.output[0], *same} for output in graph.output):
            continue
        for node in graph.node:
            node.input[:] = [same.get(name, name) for name in node.input]
        for node in (narrow, *users):
            graph.node.remove(node)
