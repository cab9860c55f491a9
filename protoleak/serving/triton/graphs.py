"""A variant's two graphs as an inference server runs them: batched by faces, with the noising inside.

In protoleak's own runtime NumPy or a kernel noises between the graphs. A server knows only graphs, so the noising goes
to the front of the attributor, as constants: there is no random operator in it here either. And a server batches along
the first axis, which has to mean the same in both graphs: it is the faces, so the looks at a face have an axis of their
own.

    latent encoder   looks uint8 [N, L, S, S, 3] → z0 float32 [N, L, C, h, w]
    attributor       z0 → embedding, gate, timestep_weight, prototype_distance, class_score; log_density [N, 1]

An attributor that takes z0 anyway, its first operation above the noise, has that batch and needs no noising in front.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from protoleak.bundle.graph_check import attributor_output_shapes
from protoleak.bundle.manifest import Manifest
from protoleak.runtime.executors import ATTRIBUTOR_OUTPUTS, LATENT_ENCODER_OUTPUTS
from protoleak.runtime.noising import Noising

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

LOOKS, (Z0,), Z_T = "looks", LATENT_ENCODER_OUTPUTS, "z_t"  # the names of what goes in, between and inside
IMAGE, LOG_DENSITY = "image", "log_density"
PREFIX = "serving/"  # of the names that are added; no exporter writes them


@dataclass(frozen=True)
class ServedGraphs:
    """Both graphs as serialised ONNX models."""

    latent_encoder: bytes
    attributor: bytes


def served_graphs(latent_encoder: bytes, attributor: bytes, manifest: Manifest, noising: Noising) -> ServedGraphs:
    """The graphs of a variant, changed as the module says.

    Args:
        latent_encoder, attributor: serialised ONNX models of the bundle, which `Bundle.load` has checked.
        noising: of the same bundle.
    """
    return ServedGraphs(by_faces(latent_encoder, manifest), with_noising(attributor, manifest, noising))


def by_faces(latent_encoder: bytes, manifest: Manifest) -> bytes:
    """The latent encoder with the looks of a face on an axis of their own, behind that of the batch."""
    from onnx import TensorProto, helper

    model = _loaded(latent_encoder)
    graph, names = model.graph, _names(model)
    inner_image, inner_z0 = names.fresh(IMAGE), names.fresh(Z0)
    _rename(graph.node, {IMAGE: inner_image, Z0: inner_z0})
    side, looks = manifest.preprocessing.image_size, len(manifest.preprocessing.looks)
    # The cast comes first, since TensorRT takes uint8 only as an input that is cast at once; it's exact, and the cast
    # that the graph begins with anyway then has nothing to do.
    casted = names.fresh("float")
    before = [
        helper.make_node("Cast", [LOOKS], [casted], name=names.fresh("cast"), to=TensorProto.FLOAT),
        _reshape(model, names, casted, inner_image, (-1, side, side, 3)),
    ]
    after = [_reshape(model, names, inner_z0, Z0, (-1, looks, *manifest.latent_shape))]
    _surround(model, before, after)
    _replace(graph.input, IMAGE, LOOKS, TensorProto.UINT8, ("faces", looks, side, side, 3))
    _replace(graph.output, Z0, Z0, TensorProto.FLOAT, ("faces", looks, *manifest.latent_shape))
    return bytes(model.SerializeToString())


def with_noising(attributor: bytes, manifest: Manifest, noising: Noising) -> bytes:
    """The attributor with `diffusion.noised` in front of it, if it takes z_t, and a log density that has two axes.

    The operations are those of the runtime, in their order: the low-frequency half is P_h · z0 · P_wᵀ behind z0, times
    a factor for each timestep, plus the noise with its own half and factor.
    """
    from onnx import TensorProto

    model = _loaded(attributor)
    graph, names = model.graph, _names(model)
    inner_density = names.fresh(LOG_DENSITY)
    _rename(graph.node, {LOG_DENSITY: inner_density})
    before = [] if manifest.attributor_input == Z0 else _noising_in_front(model, names, manifest, noising)
    # One number per face is a tensor of one axis, which a server's configuration cannot say of an output.
    after = [_reshape(model, names, inner_density, LOG_DENSITY, (-1, 1))]
    _surround(model, before, after)
    looks = len(manifest.preprocessing.looks)
    _replace(graph.input, manifest.attributor_input, Z0, TensorProto.FLOAT, ("faces", looks, *manifest.latent_shape))
    for name, shape in output_shapes(manifest).items():
        _replace(graph.output, name, name, TensorProto.FLOAT, ("faces", *shape))
    return bytes(model.SerializeToString())


def _noising_in_front(model: ModelProto, names: _Names, manifest: Manifest, noising: Noising) -> list[NodeProto]:
    """The nodes that make z_t of z0, their constants added to the model."""
    from onnx import helper

    inner_z_t = names.fresh(Z_T)
    _rename(model.graph.node, {Z_T: inner_z_t})
    looks, steps = len(manifest.preprocessing.looks), len(manifest.timesteps)
    nodes: list[NodeProto] = []
    planes = Z0
    if noising.projections is not None:
        left, right = noising.projections
        rows, both, low = names.fresh("rows"), names.fresh("both"), names.fresh("low_frequency")
        constants = _constant(model, names, "left", left), _constant(model, names, "right", right.T)
        nodes += [
            helper.make_node("MatMul", [constants[0], Z0], [rows], name=names.fresh("project_rows")),
            helper.make_node("MatMul", [rows, constants[1]], [low], name=names.fresh("project_columns")),
            helper.make_node("Concat", [Z0, low], [both], name=names.fresh("append"), axis=2),
        ]
        planes = both
    channels, height, width = noising.noise_term.shape[1:]
    spread, scaled, noised = names.fresh("spread"), names.fresh("scaled"), names.fresh("noised")
    factor = _constant(model, names, "latent_factor", noising.latent_factor.reshape(1, 1, steps, 1, 1, 1))
    term = _constant(model, names, "noise_term", noising.noise_term.reshape(1, 1, *noising.noise_term.shape))
    nodes += [
        _reshape(model, names, planes, spread, (-1, looks, 1, channels, height, width)),
        helper.make_node("Mul", [spread, factor], [scaled], name=names.fresh("scale")),
        helper.make_node("Add", [scaled, term], [noised], name=names.fresh("add_noise")),
        _reshape(model, names, noised, inner_z_t, (-1, looks * steps, channels, height, width)),
    ]
    return nodes


def output_shapes(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """The attributor's outputs as served, without the axis of the batch, in the order of ATTRIBUTOR_OUTPUTS."""
    shapes = attributor_output_shapes(manifest, len(manifest.generators)) | {LOG_DENSITY: (1,)}
    return {name: shapes[name] for name in ATTRIBUTOR_OUTPUTS}


class _Names:
    """Names that nothing in a graph has yet."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken

    def fresh(self, wanted: str) -> str:
        name = PREFIX + wanted
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def _names(model: ModelProto) -> _Names:
    graph = model.graph
    taken = {name for node in graph.node for name in (node.name, *node.input, *node.output)}
    return _Names(taken | {each.name for each in (*graph.input, *graph.output, *graph.initializer)})


def _loaded(model: bytes) -> ModelProto:
    """Without the shapes that the exporter noted inside: they speak of a batch of images, not of faces."""
    import onnx

    loaded = onnx.load_from_string(model)
    del loaded.graph.value_info[:]
    return loaded


def _rename(nodes: Any, names: dict[str, str]) -> None:
    """Of tensors, wherever nodes give or take them."""
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def _surround(model: ModelProto, before: list[NodeProto], after: list[NodeProto]) -> None:
    nodes = [*before, *model.graph.node, *after]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _constant(model: ModelProto, names: _Names, wanted: str, values: npt.NDArray[Any]) -> str:
    from onnx import numpy_helper

    name = names.fresh(wanted)
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
    return name


def _reshape(model: ModelProto, names: _Names, source: str, target: str, shape: tuple[int, ...]) -> NodeProto:
    from onnx import helper

    constant = _constant(model, names, f"shape_of_{target.removeprefix(PREFIX)}", np.array(shape, np.int64))
    return helper.make_node("Reshape", [source, constant], [target], name=names.fresh("reshape"))


def _replace(values: Any, old: str, name: str, kind: int, shape: tuple[str | int, ...]) -> None:
    """The declaration of an input or output, in its place."""
    from onnx import helper

    place = next(index for index, value in enumerate(values) if value.name == old)
    values[place].CopyFrom(helper.make_tensor_value_info(name, kind, list(shape)))
