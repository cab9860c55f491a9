"""How the values of small tensors that hold shapes follow from one another."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from protoleak.arrays import Array
from protoleak.bundle.operators.arrangement import slices
from protoleak.bundle.operators.base import Evaluation, Use, broadcast, lengths
from protoleak.bundle.operators.constants import fill, shape_value


def _divide(use: Use) -> Array:
    left, right = use.known(0), use.known(1)
    if left.dtype.kind == "f":
        return np.asarray(left / right)
    if (right == 0).any():
        raise ValueError("a division by 0")
    return np.asarray(np.trunc(left / right)).astype(left.dtype)  # towards 0, as C does


def _two(function: Callable[[Array, Array], Array]) -> Evaluation:
    return lambda use: np.asarray(function(use.known(0), use.known(1)))


def _one(function: Callable[[Array], Array]) -> Evaluation:
    return lambda use: np.asarray(function(use.known(0)))


def _keep(use: Use) -> Array:
    """The same elements; the rule gives them another shape."""
    return use.known(0)


# What computes shapes from shapes. NumPy may give another number type: the rule's is taken.
EVALUATIONS: dict[str, Evaluation] = {
    **dict.fromkeys(("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"), _keep),
    "Shape": shape_value,
    "Size": lambda use: np.array(use.given(0).elements, np.int64),
    "Add": _two(np.add),
    "Sub": _two(np.subtract),
    "Mul": _two(np.multiply),
    "Div": _divide,
    "Max": lambda use: np.maximum.reduce([use.known(index) for index in range(len(use.inputs))]),
    "Min": lambda use: np.minimum.reduce([use.known(index) for index in range(len(use.inputs))]),
    "Equal": _two(np.equal),
    "Greater": _two(np.greater),
    "Less": _two(np.less),
    "And": _two(np.logical_and),
    "Or": _two(np.logical_or),
    "Not": _one(np.logical_not),
    "Neg": _one(np.negative),
    "Abs": _one(np.abs),
    "Floor": _one(np.floor),
    "Ceil": _one(np.ceil),
    "Where": lambda use: np.where(use.known(0), use.known(1), use.known(2)),
    "Concat": lambda use: np.concatenate(
        [use.known(index) for index in range(len(use.inputs))], axis=use.integer("axis", 0)
    ),
    "Gather": lambda use: np.take(use.known(0), use.known(1), axis=use.integer("axis", 0)),
    "Slice": lambda use: use.known(0)[slices(use)],
    "Expand": lambda use: np.broadcast_to(use.known(0), broadcast([use.given(0).shape, lengths(use.known(1))])),
    "ConstantOfShape": lambda use: np.full(lengths(use.known(0)), fill(use.node.attributes.get("value"))),
    "Range": lambda use: np.arange(*(use.known(index).ravel()[0] for index in range(3))),
    "ReduceProd": _one(np.prod),  # of all elements; fewer don't fit the rule's shape and are refused
    "Transpose": lambda use: np.transpose(use.known(0), use.integers("perm")),
}
