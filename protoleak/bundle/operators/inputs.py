"""What an operator of the allow-list may be given, beside what it works on.

The rules follow sizes from the first input and from what says how large the output gets. That holds only
where further inputs (slopes, biases, limits, scales) don't make the output larger, which engines let them do: OpenVINO
adds a bias of any length to a convolution of one channel. And it holds only where a number stands in one place: what
was an attribute in early versions of an operator is an input in later ones, and engines read the one that the version
asks for. So more than an operator takes, and numbers in the other version's place, are refused.
"""

from __future__ import annotations

from collections.abc import Callable

from protoleak.bundle.operators.base import Use, axis_of, broadcast
from protoleak.bundle.operators.sums import REDUCING

# How many inputs an operator takes at most. Where it isn't 1; None for any number.
MOST_INPUTS: dict[str, int | None] = {
    **dict.fromkeys(("Concat", "Max", "Min", "Sum"), None),
    "Constant": 0,
    **dict.fromkeys(("Add", "And", "Div", "Equal", "Expand", "Gather", "GatherElements", "GatherND", "Greater"), 2),
    **dict.fromkeys(("GreaterOrEqual", "Less", "LessOrEqual", "MatMul", "Mod", "Mul", "Or", "PRelu", "Pow"), 2),
    **dict.fromkeys(("Reshape", "Split", "Squeeze", "Sub", "Tile", "Unsqueeze", *REDUCING), 2),
    **dict.fromkeys(("Clip", "Conv", "DequantizeLinear", "Gemm", "GroupNormalization", "InstanceNormalization"), 3),
    **dict.fromkeys(("LayerNormalization", "QuantizeLinear", "Range", "Where"), 3),
    **dict.fromkeys(("Pad", "Resize"), 4),
    **dict.fromkeys(("BatchNormalization", "Slice"), 5),
    "Dropout": 3,  # its rule takes one
}
# Operator → attributes that are inputs from an opset on.
BECAME_INPUTS: dict[str, tuple[tuple[str, ...], int]] = {
    "Clip": (("min", "max"), 11),
    "Pad": (("pads", "value"), 11),
    "Slice": (("starts", "ends", "axes"), 10),
    "Split": (("split",), 13),
    **dict.fromkeys(("ReduceSum", "Squeeze", "Unsqueeze"), (("axes",), 13)),
    **dict.fromkeys((name for name in REDUCING if name != "ReduceSum"), (("axes",), 18)),
}
# Operator → attributes that there are from an opset on.
NEWER: dict[str, tuple[tuple[str, ...], int]] = {
    "Shape": (("start", "end"), 15),
    "ReduceSum": (("noop_with_empty_axes",), 13),
    **dict.fromkeys((name for name in REDUCING if name != "ReduceSum"), (("noop_with_empty_axes",), 18)),
}
OLDEST = {"Resize": 11}  # before, its second input was what its third is now


def check_inputs(use: Use, opset: int) -> None:
    """Refuses a use of an operator that engines could understand in another way than its rule.

    Raises:
        ValueError: one line that says what it is given.
    """
    name, given = use.node.operator, len(use.inputs)
    most = MOST_INPUTS.get(name, 1)
    if most is not None and given > most:
        raise ValueError(f"it has {given} inputs")
    if opset < OLDEST.get(name, 0):
        raise ValueError(f"of opset {opset} it is not allowed in a bundle")
    attributes, since = BECAME_INPUTS.get(name, ((), 0))
    if opset < since and given > 1:
        raise ValueError(f"it has {given} inputs, and one in opset {opset}")
    found = [one for one in attributes if opset >= since and one in use.node.attributes]
    if found:
        raise ValueError(f"its {found[0]} is an attribute, and an input in opset {opset}")
    attributes, since = NEWER.get(name, ((), 0))
    if opset < since and not use.node.attributes.keys().isdisjoint(attributes):
        raise ValueError(f"it has {attributes[0]}, which there is from opset {since} on")
    if name in PARAMETERS:
        PARAMETERS[name](use)


def _fit(use: Use, first: int, *shapes: tuple[int, ...]) -> None:
    """Raises ValueError where an input from the first on has none of these shapes."""
    for index in range(first, len(use.inputs)):
        found = use.optional(index)
        if found is not None and found.shape not in shapes:
            raise ValueError(f"its input {index} of {list(found.shape)} does not fit {list(use.given(0).shape)}")


def _channels(use: Use) -> None:
    shape = use.given(0).shape
    if len(shape) < 2:
        raise ValueError(f"an input of {len(shape)} axes")
    of_groups = (use.integer("num_groups", shape[1]),) if use.node.operator == "GroupNormalization" else (shape[1],)
    _fit(use, 1, shape[1:2], of_groups)


def _normalised(use: Use) -> None:
    """Scale and bias of a LayerNormalization: over the axes that it normalises, or fewer."""
    shape = use.given(0).shape
    inner = shape[axis_of(use.integer("axis", -1), len(shape)) :]
    for index in (1, 2):
        found = use.optional(index)
        if found is not None and (len(found.shape) > len(inner) or broadcast([found.shape, inner]) != inner):
            raise ValueError(f"its input {index} of {list(found.shape)} does not fit {list(inner)}")


def _limits(use: Use) -> None:
    _fit(use, 1, (), (1,) if use.given(0).shape else ())


def _convolution(use: Use) -> None:
    _fit(use, 2, use.given(1).shape[:1])


def _product(use: Use) -> None:
    left, right, bias = use.given(0).shape, use.given(1).shape, use.optional(2)
    if bias is None or len(left) != 2 or len(right) != 2:
        return  # its rule refuses others
    shape = left[1 if use.integer("transA", 0) else 0], right[0 if use.integer("transB", 0) else 1]
    if len(bias.shape) > 2 or broadcast([bias.shape, shape]) != shape:
        raise ValueError(f"its input 2 of {list(bias.shape)} does not fit {list(shape)}")


def _steps(use: Use) -> None:
    """Scale and zero point of quantised numbers: one, or one for each index of an axis."""
    shape = use.given(0).shape
    if use.integer("block_size", 0) or "output_dtype" in use.node.attributes:
        raise ValueError("it is quantised in blocks, or to a type that it names")
    one_axis = () if not shape else (shape[axis_of(use.integer("axis", 1) if len(shape) > 1 else 0, len(shape))],)
    _fit(use, 1, (), (1,) if shape else (), one_axis)
    zero = use.optional(2)
    if zero is not None and zero.shape != use.given(1).shape:
        raise ValueError(f"a zero point of {list(zero.shape)} for a scale of {list(use.given(1).shape)}")


PARAMETERS: dict[str, Callable[[Use], None]] = {
    **dict.fromkeys(("BatchNormalization", "GroupNormalization", "InstanceNormalization"), _channels),
    **dict.fromkeys(("DequantizeLinear", "QuantizeLinear"), _steps),
    "Clip": _limits,
    "Conv": _convolution,
    "Gemm": _product,
    "LayerNormalization": _normalised,
}
