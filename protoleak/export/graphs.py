"""The two graphs of a bundle, from PyTorch (or, for the latent encoder, from any ONNX file) to ONNX.

Precision, preprocessing and decision constants are all inside the graphs; noise is not: there is no random operator in
either, and the export fails if one appears.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from protoleak.bundle.graph_check import inspect_onnx
from protoleak.choices import AttributorInput
from protoleak.errors import CheckpointError, ParityError, ProtoleakError
from protoleak.export.head_modules import HeadModule
from protoleak.export.onnx_graph import IR_VERSION
from protoleak.export.onnx_latent_encoder import check_batch, with_preprocessing
from protoleak.export.patches import join_patches
from protoleak.export.settings import DEFAULT_OPSET
from protoleak.export.stems import split_stem
from protoleak.model.attributor import Attributor
from protoleak.model.latent_encoder import LatentEncoder, OnnxLatentEncoder, TorchLatentEncoder
from protoleak.runtime.executors import ATTRIBUTOR_OUTPUTS
from protoleak.runtime.noising import Noising


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
        model = _checked(_with_joined_patches(with_preprocessing(encoder, image_size)))
        check_batch(model, image_size)
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


def _with_joined_patches(model_bytes: bytes) -> bytes:
    import onnx

    model = onnx.load_from_string(model_bytes)
    return bytes(model.SerializeToString()) if join_patches(model.graph) else model_bytes
