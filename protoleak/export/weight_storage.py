"""Weights of an attributor that take two bytes in a bundle in place of four, without a number that differs.

The network is rounded before anything is fitted to it, measured or calibrated; the file then holds float16 constants,
each with a Cast behind it, which engines compute once, when they load. Computing stays float32.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from protoleak.bundle.report import Stage
from protoleak.export.precisions.build import BuiltVariant
from protoleak.model.second_order import SecondOrderEncoder

LARGE = 2**12  # elements: below it a Cast costs more than it saves
SUFFIX = "_float16"


def round_large_weights(module: torch.nn.Module) -> int:
    """Rounds large parameters to float16 in place, those that it can hold; returns how many.

    Normalisations that the exporter would multiply into them are multiplied in before.
    """
    for part in module.modules():
        if isinstance(part, SecondOrderEncoder):
            part.fold_norms()
    rounded = 0
    with torch.no_grad():
        for parameter in module.parameters():
            narrow = parameter.half().float()
            if parameter.numel() >= LARGE and torch.isfinite(narrow).all():
                parameter.copy_(narrow)
                rounded += 1
    return rounded


def stored_small(variant: BuiltVariant) -> BuiltVariant:
    """The same variant with those large constants of its attributor stored as float16 that it holds exactly."""
    graphs: dict[Stage, bytes] = {**variant.graphs, "attributor": stored_as_float16(variant.graphs["attributor"])}
    return replace(variant, graphs=graphs)


def stored_as_float16(model: bytes) -> bytes:
    """The same graph with large float32 constants as float16 ones and a Cast, where no value changes by that."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    proto = onnx.load_from_string(model)
    casts = []
    for constant in proto.graph.initializer:
        if constant.data_type != TensorProto.FLOAT or np.prod(constant.dims) < LARGE:
            continue
        values = numpy_helper.to_array(constant)
        with np.errstate(over="ignore"):
            narrow = values.astype(np.float16)
        if not np.array_equal(narrow.astype(np.float32), values):
            continue
        name = constant.name
        constant.CopyFrom(numpy_helper.from_array(narrow, name + SUFFIX))
        casts.append(helper.make_node("Cast", [name + SUFFIX], [name], name=f"{name}_Cast", to=TensorProto.FLOAT))
    for index, cast in enumerate(casts):
        proto.graph.node.insert(index, cast)
    return bytes(proto.SerializeToString())
