"""Operators that make a tensor from constants and shapes alone."""

from __future__ import annotations

import math

import numpy as np

from protoleak.arrays import Array
from protoleak.bundle.onnx_model import DTYPES, INT64, Attribute, Tensor
from protoleak.bundle.operators.base import LARGEST_KNOWN, Result, Rule, Sized, Use, lengths, sized_result


def _constant(use: Use) -> Result:
    value = _constant_value(use)
    kind = next(code for code, dtype in DTYPES.items() if dtype == value.dtype)
    small = value if value.size <= LARGEST_KNOWN else None
    return Result((Sized(kind, value.shape, small, constant=True),), value.size)


def _constant_value(use: Use) -> Array:
    if len(use.node.attributes) != 1:
        raise ValueError("it holds not exactly one value")
    [(name, value)] = use.node.attributes.items()
    if name == "value" and isinstance(value, Tensor):
        return value.values
    plain: dict[str, type[np.generic]] = {
        "value_float": np.float32,
        "value_floats": np.float32,
        "value_int": np.int64,
        "value_ints": np.int64,
    }
    if name not in plain or isinstance(value, (bytes, Tensor)):
        raise ValueError(f"it holds {name}")
    return np.asarray(value, plain[name])


def _constant_of_shape(use: Use) -> Result:
    value = use.node.attributes.get("value")
    kind = value.element_type if isinstance(value, Tensor) else 1
    return sized_result(use, lengths(use.known(0)), kind)


def fill(value: Attribute | None) -> float:
    """What a ConstantOfShape fills its output with."""
    return float(value.data[0]) if isinstance(value, Tensor) and value.data.size else 0.0


def _range(use: Use) -> Result:
    start, limit, step = (float(use.known(index).ravel()[0]) for index in range(3))
    if step == 0 or not all(map(math.isfinite, (start, limit, step))):
        raise ValueError(f"from {start} to {limit} in steps of {step}")
    return sized_result(use, [max(0, math.ceil((limit - start) / step))])


def _shape(use: Use) -> Result:
    return sized_result(use, [len(shape_value(use))], INT64, work=1)


def shape_value(use: Use) -> Array:
    """What a Shape gives: int64 [axes], or a part of them."""
    shape = use.given(0).shape
    end = use.node.attributes.get("end", len(shape))
    if not isinstance(end, int):
        raise ValueError("end is no integer")
    return np.array(shape[use.integer("start", 0) : end], np.int64)


def _size(use: Use) -> Result:
    return sized_result(use, [], INT64, work=1)


RULES: dict[str, Rule] = {
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Shape": _shape,
    "Size": _size,
}
