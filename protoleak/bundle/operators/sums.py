"""Operators that put many elements together in one: reductions, pooling, convolutions and matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence

from protoleak.bundle.operators.base import Result, Rule, Use, axes_of, broadcast, sized_result
from protoleak.bundle.operators.elementwise import same_size


def _reduce(use: Use) -> Result:
    shape = use.given(0).shape
    given = use.integers("axes", 1)
    if not given and use.integer("noop_with_empty_axes", 0):
        return same_size(use)
    axes = axes_of(given or range(len(shape)), len(shape))
    if use.integer("keepdims", 1):
        return sized_result(use, [1 if axis in axes else length for axis, length in enumerate(shape)])
    return sized_result(use, [length for axis, length in enumerate(shape) if axis not in axes])


def _global_pool(use: Use) -> Result:
    shape = use.given(0).shape
    return sized_result(use, [*shape[:2], *(1 for _ in shape[2:])])


def _window(use: Use, kernel: Sequence[int]) -> list[int]:
    """The spatial lengths that a convolution or pooling leaves."""
    spatial = use.given(0).shape[2:]
    count = len(spatial)
    strides = use.integers("strides") or [1] * count
    dilations = use.integers("dilations") or [1] * count
    pads = use.integers("pads") or [0] * 2 * count
    if not (len(kernel) == len(strides) == len(dilations) == count and len(pads) == 2 * count):
        raise ValueError(f"its window {list(kernel)} does not fit {count} axes")
    if min(*strides, *dilations, *kernel, 1) < 1 or min(*pads, 0) < 0:
        raise ValueError("it has a stride, dilation, window or padding that is too small")
    automatic = use.word("auto_pad", "NOTSET")
    upwards = use.integer("ceil_mode", 0) == 1
    result = []
    for axis, length in enumerate(spatial):
        extent = (kernel[axis] - 1) * dilations[axis] + 1
        if automatic in ("SAME_UPPER", "SAME_LOWER"):
            result.append(-(-length // strides[axis]))
            continue
        padded = length - extent + (0 if automatic == "VALID" else pads[axis] + pads[axis + count])
        if padded < 0:
            raise ValueError(f"its window of {extent} is larger than the {length} that it goes over")
        steps = -(-padded // strides[axis]) if upwards else padded // strides[axis]
        if upwards and steps * strides[axis] >= length + pads[axis]:  # engines don't agree on whether it counts
            raise ValueError("its last window lies in the padding alone")
        result.append(steps + 1)
    return result


def _pool(use: Use) -> Result:
    kernel = use.integers("kernel_shape") or []
    shape = [*use.given(0).shape[:2], *_window(use, kernel)]
    return sized_result(use, shape, work=math.prod(shape) * math.prod(kernel))


def _conv(use: Use) -> Result:
    x, weight = use.given(0).shape, use.given(1).shape
    group = use.integer("group", 1)
    if len(x) < 3 or len(weight) != len(x) or group < 1 or x[1] != weight[1] * group or weight[0] % group:
        raise ValueError(f"weights of {list(weight)} in {group} groups do not fit an input of {list(x)}")
    kernel = use.integers("kernel_shape") or list(weight[2:])
    if kernel != list(weight[2:]):
        raise ValueError(f"kernel_shape {kernel} is not that of its weights {list(weight)}")
    shape = [x[0], weight[0], *_window(use, kernel)]
    return sized_result(use, shape, work=math.prod(shape) * math.prod(weight[1:]))


def _matmul(use: Use) -> Result:
    left, right = use.given(0).shape, use.given(1).shape
    if not left or not right:
        raise ValueError("a matrix product of a scalar")
    a = (1, *left) if len(left) == 1 else left
    b = (*right, 1) if len(right) == 1 else right
    if a[-1] != b[-2]:
        raise ValueError(f"a matrix product of {list(left)} and {list(right)}")
    shape = [*broadcast([a[:-2], b[:-2]]), *(a[-2:-1] if len(left) > 1 else ()), *(b[-1:] if len(right) > 1 else ())]
    return sized_result(use, shape, work=math.prod(shape) * a[-1])


def _gemm(use: Use) -> Result:
    left, right = use.given(0).shape, use.given(1).shape
    if len(left) != 2 or len(right) != 2:
        raise ValueError(f"a matrix product of {list(left)} and {list(right)}")
    a = left[::-1] if use.integer("transA", 0) else left
    b = right[::-1] if use.integer("transB", 0) else right
    if a[1] != b[0]:
        raise ValueError(f"a matrix product of {list(a)} and {list(b)}")
    return sized_result(use, [a[0], b[1]], work=a[0] * a[1] * b[1])


REDUCING = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"),
    *("ReduceSum", "ReduceSumSquare"),
)
RULES: dict[str, Rule] = {
    **dict.fromkeys(REDUCING, _reduce),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _global_pool),
    **dict.fromkeys(("AveragePool", "MaxPool"), _pool),
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
