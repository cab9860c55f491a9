"""Judges an ONNX file from a stranger before any engine sees it, without the `onnx` package.

`protobuf` reads it, more strictly than runtimes do; `onnx_model` knows the fields that a graph may have; `operators` is
the allow-list; `graph_sizes` follows the shapes. Here they come together, with what is wrong in words. After an engine
has opened a graph, `differences` compares what the engine reports with what was seen here.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from protoleak.bundle.graph_sizes import Port, Sizes, check_sizes, follow
from protoleak.bundle.manifest import Manifest
from protoleak.bundle.onnx_model import (
    DEFAULT_DOMAINS,
    FLOAT,
    TYPE_NAMES,
    UINT8,
    Declared,
    Node,
    OnnxModel,
    Tensor,
    read_model,
)
from protoleak.bundle.operators.rules import RULES
from protoleak.errors import shortened

OLDEST_OPSET, NEWEST_OPSET = 7, 28  # what the rules in `operators` don't know of old versions they refuse
MOST_NODES = 4000  # an SD-VAE encoder has 600
LARGEST_SIDE_OF_FACE_DETECTOR = 640  # in pixels; what it is opened with, see faces.base.DETECTION_SIDE
RANDOM_OPERATORS = frozenset(  # no less forbidden than others that aren't listed, but named as what they are
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
FINITE_CHUNK = 2**20  # elements looked at together
INTERFACES_KEPT = 16  # of graphs that were read: engines ask again for what the check of a bundle has read

Interface: TypeAlias = "tuple[tuple[Port, ...], tuple[Port, ...]]"  # inputs and outputs


@dataclass
class OnnxFindings:
    """What is wrong with a graph: each list holds names, and is empty for a sound graph."""

    non_finite_tensors: list[str] = field(default_factory=list)
    external_tensors: list[str] = field(default_factory=list)
    random_operators: list[str] = field(default_factory=list)
    foreign_operators: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        """One phrase per kind of problem."""
        phrases = []
        if self.non_finite_tensors:
            phrases.append(f"NaN or infinite weights in {_few(self.non_finite_tensors)}")
        if self.external_tensors:
            phrases.append(f"weights stored outside the file: {_few(self.external_tensors)}")
        if self.random_operators:
            phrases.append(f"random operators: {_few(sorted(set(self.random_operators)))}")
        if self.foreign_operators:
            phrases.append(f"operators that no bundle may use: {_few(sorted(set(self.foreign_operators)))}")
        return phrases


def inspect_onnx(model: bytes) -> OnnxFindings:
    """Reads a serialised ONNX ModelProto and reports what must not be in it.

    Raises:
        ValueError: the bytes are no ONNX graph that protoleak reads: one with control flow, functions or sparse
            tensors, say, or with fields that two readers could understand differently.
    """
    return _findings(_read(model))


def check_graph(model: bytes, interface: Interface) -> Sizes:
    """Refuses a graph that is unsound, has other inputs or outputs than its place in a bundle asks for, or that takes
    more memory or time than any of protoleak's; returns its sizes for one image.

    Raises:
        ValueError: one line that says what is wrong.
    """
    read = _sound(model)
    return check_sizes(read, *interface)


def output_names(model: bytes) -> list[str]:
    """The names of a serialised ONNX model's outputs, in their order.

    Raises:
        ValueError: as `inspect_onnx`, or there is no output.
    """
    names = [output.name for output in _interface(model)[1]]
    if not names:
        raise ValueError("not an ONNX model: no output found")
    return names


def input_shape(model: bytes) -> tuple[int | None, ...] | None:
    """The shape that a serialised ONNX model declares of its input, axes of open length as None; None where it declares
    none, or has other than one input.

    Raises:
        ValueError: as `inspect_onnx`.
    """
    inputs, _ = _interface(model)
    return inputs[0].shape if len(inputs) == 1 else None


def latent_encoder_interface(manifest: Manifest) -> Interface:
    """What latent_encoder.onnx of a bundle takes and gives."""
    side = manifest.preprocessing.image_size
    return (Port("image", UINT8, (None, side, side, 3)),), (Port("z0", FLOAT, (None, *manifest.latent_shape)),)


def attributor_output_shapes(manifest: Manifest, generators: int) -> dict[str, tuple[int, ...]]:
    """Output of the attributor → its shape for one face, with the scores of so many generators."""
    size = manifest.embedding_size
    return {
        "embedding": (size,),
        "gate": (size,),
        "timestep_weight": (len(manifest.positions),),
        "prototype_distance": (generators, manifest.prototypes_per_generator),
        "class_score": (generators,),
        "log_density": (),
    }


def attributor_interface(manifest: Manifest) -> Interface:
    """What attributor.onnx of a bundle takes and gives."""
    shapes = attributor_output_shapes(manifest, manifest.generators_in_graph)
    outputs = tuple(Port(name, FLOAT, (None, *shape)) for name, shape in shapes.items())
    return (Port(manifest.attributor_input, FLOAT, (None, *manifest.attributor_input_shape)),), outputs


def check_face_detector(model: bytes) -> Sizes:
    """Refuses a face detector that is unsound or too large, and returns its sizes for one image; what it is called with
    is OpenCV's affair.

    Raises:
        ValueError: one line that says what is wrong.
    """
    read = _sound(model)
    declared = read.inputs[0] if len(read.inputs) == 1 else None
    if declared is None or declared.element_type != FLOAT or declared.shape is None or len(declared.shape) != 4:
        raise ValueError("a face detector takes one float32 image [1, 3, H, W]")
    side = LARGEST_SIDE_OF_FACE_DETECTOR
    sizes = follow(read, [Port(declared.name, FLOAT, (1, 3, side, side)).sized(1)])
    if not sizes.light:
        raise ValueError(
            f"a face detector of {sizes.nodes} nodes, {sizes.constants} bytes of weights and {sizes.alive} alive at "
            "once: far more than any that protoleak knows"
        )
    return sizes


def names_in(model: bytes) -> set[str]:
    """The names of a serialised ONNX model's inputs and outputs.

    Raises:
        ValueError: as `inspect_onnx`.
    """
    inputs, outputs = _interface(model)
    return {declared.name for declared in (*inputs, *outputs)}


def differences(model: bytes, inputs: Iterable[Declared], outputs: Iterable[Declared]) -> list[str]:
    """How what an engine reports of a graph that it has opened differs from what was read here.

    An engine that sees another graph than was checked has read the file in another way, and its results are no
    evidence. Lengths that either leaves open are not compared.

    Args:
        inputs, outputs: as the engine reports them.
    """
    own_inputs, own_outputs = _interface(model)
    found = []
    for kind, ours, theirs in (("input", own_inputs, inputs), ("output", own_outputs, outputs)):
        reported = {port.name: port for port in theirs}
        names = {declared.name for declared in ours}
        if names != reported.keys():
            found.append(f"its {kind}s are {_few(sorted(reported))} where the file says {_few(sorted(names))}")
            continue
        for declared in ours:
            port = reported[declared.name]
            if port.element_type and declared.element_type and port.element_type != declared.element_type:
                kinds = TYPE_NAMES.get(port.element_type, "other"), TYPE_NAMES[declared.element_type]
                found.append(f"{kind} {declared.name} is {kinds[0]} where the file says {kinds[1]}")
            if declared.shape is None or port.shape is None:
                continue
            pairs = list(zip(port.shape, declared.shape, strict=False))
            unlike = any(a != b for a, b in pairs if a is not None and b is not None)
            if unlike or len(port.shape) != len(declared.shape):
                shapes = f"{list(port.shape)} where the file says {list(declared.shape)}"
                found.append(f"{kind} {declared.name} has the shape {shapes}")
    return found


def _sound(model: bytes) -> OnnxModel:
    """The graph; a ValueError with everything that is unsound about it."""
    read = _read(model)
    problems = _findings(read).problems()
    if problems:
        raise ValueError("; ".join(problems))
    return read


def _read(model: bytes) -> OnnxModel:
    read = read_model(model)
    if not OLDEST_OPSET <= min(read.opsets, default=0) <= max(read.opsets, default=0) <= NEWEST_OPSET:
        raise ValueError(f"opset {_few(read.opsets)}: protoleak knows {OLDEST_OPSET} to {NEWEST_OPSET}")
    if len(read.opsets) != 1:
        raise ValueError(f"opsets {_few(read.opsets)} are imported, and which holds is not said")
    if len(read.nodes) > MOST_NODES:
        raise ValueError(f"{len(read.nodes)} nodes, more than the {MOST_NODES} that are allowed")
    _interfaces[hashlib.sha256(model).digest()] = read.inputs, read.outputs
    if len(_interfaces) > INTERFACES_KEPT:
        _interfaces.popitem(last=False)
    return read


_interfaces: OrderedDict[bytes, tuple[tuple[Declared, ...], tuple[Declared, ...]]] = OrderedDict()  # by SHA-256


def _interface(model: bytes) -> tuple[tuple[Declared, ...], tuple[Declared, ...]]:
    """Inputs and outputs; the file is read once more only where that was long ago."""
    known = _interfaces.get(hashlib.sha256(model).digest())
    if known is None:
        read = _read(model)
        known = read.inputs, read.outputs
    return known


def _findings(model: OnnxModel) -> OnnxFindings:
    tensors = list(model.tensors())
    foreign = [
        f"{node.domain}.{node.operator}".strip(".")
        for node in model.nodes
        if node.operator not in RULES or node.domain not in DEFAULT_DOMAINS
    ]
    return OnnxFindings(
        non_finite_tensors=[
            *(tensor.name for tensor in tensors if not _finite(tensor)),
            *(node.outputs[0] for node in model.nodes if node.outputs and not _finite_numbers(node)),
        ],
        external_tensors=[tensor.name for tensor in tensors if tensor.external],
        random_operators=[name for name in foreign if name in RANDOM_OPERATORS],
        foreign_operators=[name for name in foreign if name not in RANDOM_OPERATORS],
    )


def _finite(tensor: Tensor) -> bool:
    """In pieces, so that looking takes little memory."""
    if tensor.data.dtype.kind != "f":
        return True
    starts = range(0, tensor.data.size, FINITE_CHUNK)
    return all(bool(np.isfinite(tensor.data[start : start + FINITE_CHUNK]).all()) for start in starts)


def _finite_numbers(node: Node) -> bool:
    """Of a constant that isn't written as a tensor."""
    numbers = [node.attributes.get("value_float", 0.0), node.attributes.get("value_floats", 0.0)]
    return node.operator != "Constant" or all(
        bool(np.isfinite(one).all()) for one in numbers if isinstance(one, (float, list))
    )


def _few(names: Sequence[object]) -> str:
    return shortened(", ".join(map(str, names[:3])))
