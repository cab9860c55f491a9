"""Operators that put elements in another place or shape: reshape, cut, gather, repeat, pad, resize."""

from __future__ import annotations

import math

from protoleak.bundle.onnx_model import MAXIMUM_AXES
from protoleak.bundle.operators.base import Result, Rule, Sized, Use, axes_of, axis_of, broadcast, lengths, sized_result


def _reshape(use: Use) -> Result:
    old, wanted = use.given(0).shape, [int(value) for value in use.known(1).ravel()]
    if len(wanted) > MAXIMUM_AXES or wanted.count(-1) > 1 or min(wanted, default=0) < -1:
        raise ValueError(f"the shape {wanted[: MAXIMUM_AXES + 1]}")
    if not use.integer("allowzero", 0):
        if any(length == 0 and axis >= len(old) for axis, length in enumerate(wanted)):
            raise ValueError(f"the shape {wanted} for {list(old)}")
        wanted = [old[axis] if length == 0 else length for axis, length in enumerate(wanted)]
    rest = math.prod(length for length in wanted if length != -1)
    shape = [(math.prod(old) // rest if rest else 0) if length == -1 else length for length in wanted]
    if math.prod(shape) != math.prod(old):
        raise ValueError(f"{list(old)} does not take the shape {wanted}")
    return sized_result(use, shape)


def _transpose(use: Use) -> Result:
    shape = use.given(0).shape
    order = use.integers("perm") or list(range(len(shape)))[::-1]
    if sorted(order) != list(range(len(shape))):
        raise ValueError(f"the order {order} of {len(shape)} axes")
    return sized_result(use, [shape[axis] for axis in order])


def _flatten(use: Use) -> Result:
    shape, axis = use.given(0).shape, use.integer("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise ValueError(f"axis {axis} of {len(shape)}")
    axis += len(shape) if axis < 0 else 0
    return sized_result(use, [math.prod(shape[:axis]), math.prod(shape[axis:])])


def _squeeze(use: Use) -> Result:
    shape, given = use.given(0).shape, use.integers("axes", 1)
    axes = axes_of(given, len(shape)) if given else {axis for axis, length in enumerate(shape) if length == 1}
    if any(shape[axis] != 1 for axis in axes):
        raise ValueError(f"it takes axes {sorted(axes)} out of {list(shape)}")
    return sized_result(use, [length for axis, length in enumerate(shape) if axis not in axes])


def _unsqueeze(use: Use) -> Result:
    shape, given = list(use.given(0).shape), use.integers("axes", 1) or []
    if len(given) > MAXIMUM_AXES:
        raise ValueError(f"it adds {len(given)} axes")
    for axis in sorted(axes_of(given, len(shape) + len(given))):
        shape.insert(axis, 1)
    return sized_result(use, shape)


def _concat(use: Use) -> Result:
    shapes = [use.given(index).shape for index in range(len(use.inputs))]
    axis = axis_of(use.integer("axis", 0), len(shapes[0]))
    rest = {shape[:axis] + shape[axis + 1 :] for shape in shapes if len(shape) > axis}
    if len(rest) != 1 or any(len(shape) != len(shapes[0]) for shape in shapes):
        raise ValueError("its inputs do not fit each other")
    shape = list(shapes[0])
    shape[axis] = sum(one[axis] for one in shapes)
    return sized_result(use, shape)


def _split(use: Use) -> Result:
    shape, count = list(use.given(0).shape), len(use.node.outputs)
    axis = axis_of(use.integer("axis", 0), len(shape))
    parts = use.integers("split", 1)
    if parts is None:
        size = -(-shape[axis] // count)
        parts = [min(size, max(shape[axis] - index * size, 0)) for index in range(count)]
    if len(parts) != count or sum(parts) != shape[axis] or min(parts) < 0:
        raise ValueError(f"parts of {parts} for {shape[axis]}")
    kind = use.given(0).element_type
    outputs = tuple(Sized(kind, (*shape[:axis], part, *shape[axis + 1 :])) for part in parts)
    return Result(outputs, use.given(0).elements)


def slices(use: Use) -> tuple[slice, ...]:
    """How a Slice cuts each axis of its input."""
    shape = use.given(0).shape
    starts, ends = ([int(value) for value in use.known(index).ravel()] for index in (1, 2))
    axes = use.integers("", 3) or list(range(len(starts)))
    steps = use.integers("", 4) or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise ValueError("its starts, ends, axes and steps do not fit each other")
    cuts = [slice(None)] * len(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # Below the first element there is no index in Python: an end of -length-1 or less is left out.
        length = shape[axis_of(axis, len(shape))]
        last = None if step < 0 and end < -length else end
        cuts[axis_of(axis, len(shape))] = slice(start, last, step)
    return tuple(cuts)


def _slice(use: Use) -> Result:
    shape = use.given(0).shape
    return sized_result(use, [len(range(*cut.indices(length))) for cut, length in zip(slices(use), shape, strict=True)])


def _gather(use: Use) -> Result:
    shape, indices = use.given(0).shape, use.given(1).shape
    axis = axis_of(use.integer("axis", 0), len(shape))
    return sized_result(use, [*shape[:axis], *indices, *shape[axis + 1 :]])


def _gather_nd(use: Use) -> Result:
    shape, indices, batch = use.given(0).shape, use.given(1).shape, use.integer("batch_dims", 0)
    if not indices or not 0 <= batch < len(indices) or batch + indices[-1] > len(shape):
        raise ValueError(f"indices of {list(indices)} into {list(shape)}")
    return sized_result(use, [*indices[:-1], *shape[batch + indices[-1] :]])


def _gather_elements(use: Use) -> Result:
    return sized_result(use, use.given(1).shape)


def _expand(use: Use) -> Result:
    return sized_result(use, broadcast([use.given(0).shape, lengths(use.known(1))]))


def _tile(use: Use) -> Result:
    shape, repeats = use.given(0).shape, lengths(use.known(1))
    if len(repeats) != len(shape):
        raise ValueError(f"{len(repeats)} repeats for {len(shape)} axes")
    return sized_result(use, [length * count for length, count in zip(shape, repeats, strict=True)])


def _pad(use: Use) -> Result:
    shape = use.given(0).shape
    pads = use.integers("pads", 1) or []
    axes = use.integers("", 3) or list(range(len(shape)))
    if len(pads) != 2 * len(axes) or len(axes) > len(shape):
        raise ValueError(f"{len(pads)} paddings for {len(axes)} axes")
    result = list(shape)
    for index, axis in enumerate(axes):
        result[axis_of(axis, len(shape))] += pads[index] + pads[index + len(axes)]
    if min(result, default=0) < 0:
        raise ValueError(f"paddings of {pads}")
    return sized_result(use, result)


def _resize(use: Use) -> Result:
    shape = use.given(0).shape
    scales, sizes = use.optional(2), use.optional(3)
    if use.integers("axes") is not None or use.word("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise ValueError("it resizes some of its axes")
    if sizes is not None and sizes.elements:
        wanted = lengths(use.known(3))
    elif scales is not None and scales.elements:
        factors = [float(value) for value in use.known(2).ravel()]
        if not all(0 < factor < 1e6 for factor in factors):
            raise ValueError(f"the scales {factors[: MAXIMUM_AXES + 1]}")
        wanted = tuple(math.floor(length * factor) for length, factor in zip(shape, factors, strict=False))
    else:
        raise ValueError("it has neither scales nor sizes")
    if len(wanted) != len(shape):
        raise ValueError(f"{len(wanted)} scales for {len(shape)} axes")
    # A cubic or antialiased pixel reads some of the input's.
    return sized_result(use, wanted, work=16 * max(math.prod(wanted), math.prod(shape)))


def _space_to_depth(use: Use) -> Result:
    block = use.integer("blocksize", 1)
    batch, channels, height, width = _four(use)
    if block < 1 or height % block or width % block:
        raise ValueError(f"blocks of {block} in {height}×{width}")
    return sized_result(use, [batch, channels * block**2, height // block, width // block])


def _depth_to_space(use: Use) -> Result:
    block = use.integer("blocksize", 1)
    batch, channels, height, width = _four(use)
    if block < 1 or channels % block**2:
        raise ValueError(f"blocks of {block} from {channels} channels")
    return sized_result(use, [batch, channels // block**2, height * block, width * block])


def _four(use: Use) -> tuple[int, int, int, int]:
    shape = use.given(0).shape
    if len(shape) != 4:
        raise ValueError(f"an input of {len(shape)} axes")
    return shape[0], shape[1], shape[2], shape[3]


RULES: dict[str, Rule] = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
