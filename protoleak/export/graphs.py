"""The two graphs of a bundle, from PyTorch (or, for the latent encoder, from any ONNX file) to ONNX.

Precision, preprocessing and decision constants are all inside the graphs; noise is not: there is no random operator in
either, and the export fails if one appears.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from protoleak.bundle.graph_check import inspect_onnx
from protoleak.choices import AttributorInput
from protoleak.errors import CheckpointError, ParityError, ProtoleakError
from protoleak.export.head_modules import HeadModule
from protoleak.export.patches import join_patches
from protoleak.export.settings import DEFAULT_OPSET
from protoleak.export.stems import split_stem
from protoleak.model.attributor import Attributor
from protoleak.model.latent_encoder import LatentEncoder, OnnxLatentEncoder, TorchLatentEncoder
from protoleak.runtime.executors import ATTRIBUTOR_OUTPUTS
from protoleak.runtime.noising import Noising

# Opset 20 serves TensorRT 10.3 (JetPack 6.2), which predates opset 21; IR 10 serves ONNX Runtime from 1.18 on.
IR_VERSION = 10
# A batch may be summed in another order than a single image; images that mix differ in every digit.
BATCH_TOLERANCE = 1e-4


class DeployedAttributor(nn.Module):
    """The attribution network with the chosen head and the open-set density behind it: one graph, one run.

    z_t float32 [N, T, C', h, w], or z0 [N, L, C, h, w] with a stem above the noise → the tensors of ATTRIBUTOR_OUTPUTS:
    embedding and gate [N, D], timestep_weight [N, T], prototype_distance [N, K, M], class_score [N, K] of the chosen
    head, log_density [N].
    """

    def __init__(
        self, attributor: Attributor, head: HeadModule, density: nn.Module, stem: nn.Module | None = None
    ) -> None:
        """
        Args:
            stem: the network's first operation above the noise, which `attributor` is then without; see
                `stems.split_stem`.
        """
        super().__init__()
        self.attributor = attributor
        self.head = head
        self.density = density
        self.stem = stem

    @property
    def input_name(self) -> AttributorInput:
        return "z_t" if self.stem is None else "z0"

    def forward(self, given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        out = self.attributor(given if self.stem is None else self.stem(given))
        class_score = self.head(out.embedding, out.gate, out.class_score)
        log_density = self.density(out.embedding, out.gate)
        return out.embedding, out.gate, out.timestep_weight, out.prototype_distance, class_score, log_density


def above_noise(deployed: DeployedAttributor, noising: Noising) -> DeployedAttributor:
    """The same, taking z0: its network's first operation above the noise. `deployed` stays as it is."""
    stem, attributor = split_stem(deployed.attributor, noising)
    return DeployedAttributor(attributor, deployed.head, deployed.density, stem).eval()


def export_attributor(module: DeployedAttributor, example: torch.Tensor, opset: int = DEFAULT_OPSET) -> bytes:
    """attributor.onnx. `example` is one batch of what the module takes, N ≥ 2; N becomes dynamic."""
    return _export(module, example, module.input_name, ATTRIBUTOR_OUTPUTS, opset)


def export_latent_encoder(encoder: LatentEncoder, image_size: int, opset: int = DEFAULT_OPSET) -> bytes:
    """latent_encoder.onnx: "image" uint8 [N, S, S, 3] → "z0" float32 [N, C, h, w].

    Raises:
        CheckpointError: the encoder cannot be given a dynamic batch.
        ParityError: the graph holds a random operator or weights that are not finite.
    """
    if isinstance(encoder, TorchLatentEncoder):
        example = torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8)
        return _with_joined_patches(_export(encoder.module, example, "image", ("z0",), opset))
    if isinstance(encoder, OnnxLatentEncoder):
        model = _checked(_with_joined_patches(_with_preprocessing(encoder, image_size)))
        _check_batch(model, image_size)
        return model
    raise CheckpointError(f"latent encoders of kind {encoder.kind!r} cannot be exported")


def with_standardised_output(latent_encoder: bytes, mean: Sequence[float], spread: Sequence[float]) -> bytes:
    """The latent encoder with (z0 − mean) / spread of each channel in the place of z0: constants behind the graph.

    Args:
        latent_encoder: serialised ONNX, from `export_latent_encoder`.
        mean, spread: one number per channel.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load_from_string(latent_encoder)
    inner = "z0_of_the_encoder"
    for node in model.graph.node:
        node.output[:] = [inner if name == "z0" else name for name in node.output]
        node.input[:] = [inner if name == "z0" else name for name in node.input]
    scale = 1 / np.asarray(spread, dtype=np.float64)
    constants = {"z0_scale": scale, "z0_shift": -np.asarray(mean, dtype=np.float64) * scale}
    for name, values in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32).reshape(-1, 1, 1), name))
    model.graph.node.append(helper.make_node("Mul", [inner, "z0_scale"], ["z0_scaled"], name="z0_scaled"))
    model.graph.node.append(helper.make_node("Add", ["z0_scaled", "z0_shift"], ["z0"], name="z0_standardised"))
    return _checked(bytes(model.SerializeToString()))


def _export(module: nn.Module, example: torch.Tensor, name: str, outputs: tuple[str, ...], opset: int) -> bytes:
    with _quiet_exporter():
        program = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            input_names=[name],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            opset_version=opset,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise ParityError("torch.onnx.export gave no program: upgrade torch (>= 2.9 is needed)")
    model = program.model_proto
    model.ir_version = min(model.ir_version, IR_VERSION)
    found = [each.version for each in model.opset_import if each.domain in ("", "ai.onnx")]
    if found != [opset]:  # the exporter logs that a conversion failed, and goes on
        raise ProtoleakError(
            f"torch {torch.__version__} cannot write opset {opset}, only {found}: choose another opset"
        )
    _strip_notes(model)
    return _checked(bytes(model.SerializeToString()))


def _strip_notes(model: Any) -> None:
    """Takes out what the exporter notes of the sources: stack traces, which hold paths of the machine that exported.

    Args:
        model: an onnx.ModelProto, changed in place.
    """
    model.ClearField("metadata_props")
    model.ClearField("doc_string")
    for part in (model.graph, *model.functions):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
        for each in (*part.node, *part.value_info):
            each.ClearField("metadata_props")
            each.ClearField("doc_string")
    for each in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        each.ClearField("metadata_props")
        each.ClearField("doc_string")


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """The exporter warns about its own deprecated internals, and logs tracebacks of conversions, at every call."""
    logger = logging.getLogger("onnxscript")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _checked(model_bytes: bytes) -> bytes:
    problems = inspect_onnx(model_bytes).problems()
    if problems:
        raise ParityError(f"the exported graph cannot be used: {'; '.join(problems)}; no bundle written")
    return model_bytes


def _with_preprocessing(encoder: OnnxLatentEncoder, image_size: int) -> bytes:
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


def _with_joined_patches(model_bytes: bytes) -> bytes:
    import onnx

    model = onnx.load_from_string(model_bytes)
    return bytes(model.SerializeToString()) if join_patches(model.graph) else model_bytes


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


def _check_batch(model: bytes, image_size: int) -> None:
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
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"the ONNX latent encoder does not run behind the preprocessing: {reason}") from error
    try:
        together = session.run(["z0"], {"image": images})[0]
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"the ONNX latent encoder has a fixed batch that cannot be made dynamic: {remedy} ({reason})"
        ) from error
    if together.shape != alone.shape or np.abs(together - alone).max() > BATCH_TOLERANCE * np.abs(alone).max():
        raise CheckpointError(
            f"the ONNX latent encoder has a fixed batch that cannot be made dynamic: two images together give "
            f"{list(together.shape)} and other latents than each alone ({list(alone.shape)}): {remedy}"
        )
