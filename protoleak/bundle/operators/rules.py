"""The operators that a graph in a bundle may use, and how large each makes its output.

An allow-list: what is not in `RULES` is refused. Control flow (If, Loop, Scan), random operators, sequences, strings
and operators of other domains are not in it, nor any whose output's size depends on the data. docs/bundles.md prints
the table. A rule is a function of the inputs' shapes (and of the values of small integer tensors, which hold shapes),
so that the size of every tensor is known before anything is executed; see `graph_sizes`.
"""

from __future__ import annotations

import numpy as np

from protoleak.bundle.onnx_model import DEFAULT_DOMAINS, DTYPES
from protoleak.bundle.operators import arrangement, constants, elementwise, sums
from protoleak.bundle.operators.base import LARGEST_KNOWN, Result, Rule, Sized, Use
from protoleak.bundle.operators.evaluations import EVALUATIONS

RULES: dict[str, Rule] = {**elementwise.RULES, **sums.RULES, **arrangement.RULES, **constants.RULES}


def apply(use: Use) -> Result:
    """The sizes of an operator's outputs, with their values where they follow from shapes and are few.

    Raises:
        ValueError: it isn't allowed, or its output's size can't be told; one line.
    """
    node = use.node
    if node.operator not in RULES or node.domain not in DEFAULT_DOMAINS:
        raise ValueError("it is not allowed in a bundle")
    result = RULES[node.operator](use)
    if not 1 <= len(node.outputs) <= len(result.outputs):
        raise ValueError(f"it has {len(node.outputs)} outputs")
    if node.operator == "Constant":
        return result
    constant = all(found.constant for found in use.inputs if found is not None)
    outputs = tuple(Sized(one.element_type, one.shape, None, constant) for one in result.outputs)
    few = all(one.elements <= LARGEST_KNOWN for one in outputs) and len(outputs) == 1
    if not few or node.operator not in EVALUATIONS or not _all_known(use):
        return Result(outputs, result.work)
    [out] = outputs
    with np.errstate(all="ignore"):
        value = np.asarray(EVALUATIONS[node.operator](use))
    if value.size != out.elements:
        raise ValueError(f"its shape {list(out.shape)} is not that of its value {list(value.shape)}")
    value = value.astype(DTYPES[out.element_type]).reshape(out.shape)
    return Result((Sized(out.element_type, out.shape, value, constant),), result.work)


def _all_known(use: Use) -> bool:
    if use.node.operator in ("Shape", "Size"):
        return True
    return all(found.value is not None for found in use.inputs if found is not None)
