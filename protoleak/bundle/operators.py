"""The operators that a graph in a bundle may use, and how large each makes its output.

An allow-list: what is not in `RULES` is refused. Control flow (If, Loop, Scan), random operators, sequences, strings
and operators of other domains are not in it, nor any whose output's size depends on the data. docs/bundles.md prints
the table. A rule is a function of the inputs' shapes (and of the values of small integer tensors, which hold shapes),
so that the size of every tensor is known before anything is executed; see `graph_sizes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from protoleak.arrays import Array
from protoleak.bundle.onnx_model import BOOL, DTYPES, INT64, MAXIMUM_AXES, UINT8, Attribute, Node, Tensor

LARGEST_KNOWN = 4096  # elements of a tensor whose values are followed: shapes, paddings, scales


@dataclass(frozen=True)
class Sized:
    """A tensor whose size is known.

    Attributes:
        element_type: a key of `onnx_model.DTYPES`.
        value: its elements, where they follow from constants and shapes alone and are few; else None.
        constant: it depends on no input of the graph, so engines compute it when they load the graph.
    """

    element_type: int
    shape: tuple[int, ...]
    value: Array | None = None
    constant: bool = False

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements * DTYPES[self.element_type].itemsize


@dataclass(frozen=True)
class Use:
    """One use of an operator: its node, and its inputs, None where an optional one is left out."""

    node: Node
    inputs: tuple[Sized | None, ...]

    def given(self, index: int) -> Sized:
        """An input that must be there."""
        found = self.optional(index)
        if found is None:
            raise ValueError(f"input {index} is missing")
        return found

    def optional(self, index: int) -> Sized | None:
        return self.inputs[index] if index < len(self.inputs) else None

    def known(self, index: int) -> Array:
        """The values of an input that says how large the output gets."""
        found = self.given(index)
        if found.value is None:
            raise ValueError("its output's size depends on data")
        return found.value

    def integers(self, attribute: str, index: int | None = None) -> list[int] | None:
        """A list of integers from an attribute or, in later versions of the operator, from an input."""
        if index is not None and self.optional(index) is not None:
            return [int(value) for value in self.known(index).ravel()]
        found = self.node.attributes.get(attribute)
        if found is None:
            return None
        if not isinstance(found, list) or not all(isinstance(value, int) for value in found):
            raise ValueError(f"{attribute} is no list of integers")
        return [int(value) for value in found]

    def integer(self, attribute: str, default: int) -> int:
        found = self.node.attributes.get(attribute, default)
        if not isinstance(found, int):
            raise ValueError(f"{attribute} is no integer")
        return found

    def word(self, attribute: str, default: str) -> str:
        found = self.node.attributes.get(attribute, default.encode())
        if not isinstance(found, bytes):
            raise ValueError(f"{attribute} is no text")
        return found.decode("utf-8", "replace")


@dataclass(frozen=True)
class Result:
    """What an operator makes: its outputs, and how many multiply-adds or element steps it takes."""

    outputs: tuple[Sized, ...]
    work: int


Rule: TypeAlias = Callable[[Use], Result]
Evaluation: TypeAlias = Callable[[Use], Array]


def _result(use: Use, shape: Sequence[int], element_type: int | None = None, work: int | None = None) -> Result:
    kind = use.given(0).element_type if element_type is None else element_type
    if len(shape) > MAXIMUM_AXES:
        raise ValueError(f"its output has {len(shape)} axes")
    out = Sized(kind, tuple(int(length) for length in shape))
    read = sum(found.elements for found in use.inputs if found is not None)
    return Result((out,), max(read, out.elements) if work is None else work)


def _same(use: Use) -> Result:
    return _result(use, use.given(0).shape)


def _same_bool(use: Use) -> Result:
    return _result(use, use.given(0).shape, BOOL)


def _dropout(use: Use) -> Result:
    if len(use.inputs) > 1:
        raise ValueError("it has inputs that can make it random")
    return _same(use)


def _cast(use: Use) -> Result:
    kind = use.integer("to", 0)
    if kind not in DTYPES:
        raise ValueError(f"it casts to element type {kind}")
    return _result(use, use.given(0).shape, kind)


def broadcast(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """NumPy's rule, without making anything."""
    axes = max(len(shape) for shape in shapes)
    padded = [(1,) * (axes - len(shape)) + shape for shape in shapes]
    result = []
    for lengths in zip(*padded, strict=True):
        others = {length for length in lengths if length != 1}
        if len(others) > 1:
            raise ValueError(f"the shapes {' and '.join(str(list(shape)) for shape in shapes)} do not go together")
        result.append(others.pop() if others else 1)
    return tuple(result)


def _broadcast(use: Use) -> Result:
    return _result(use, broadcast([use.given(index).shape for index in range(len(use.inputs))]))


def _compare(use: Use) -> Result:
    return _result(use, broadcast([use.given(0).shape, use.given(1).shape]), BOOL)


def _where(use: Use) -> Result:
    shape = broadcast([use.given(index).shape for index in range(3)])
    return _result(use, shape, use.given(1).element_type)


def _prelu(use: Use) -> Result:
    if broadcast([use.given(0).shape, use.given(1).shape]) != use.given(0).shape:
        raise ValueError("its slopes are larger than what they are for")
    return _same(use)


def axis_of(axis: int, axes: int) -> int:
    """An axis counted from the front."""
    if not -axes <= axis < axes:
        raise ValueError(f"axis {axis} of {axes}")
    return axis % axes


def _axes_of(given: Sequence[int], axes: int) -> set[int]:
    found = [axis_of(axis, axes) for axis in given]
    if len(found) > len(set(found)):
        raise ValueError(f"the axes {list(given)} are not distinct")
    return set(found)


def _reduce(use: Use) -> Result:
    shape = use.given(0).shape
    given = use.integers("axes", 1)
    if not given and use.integer("noop_with_empty_axes", 0):
        return _same(use)
    axes = _axes_of(given or range(len(shape)), len(shape))
    if use.integer("keepdims", 1):
        return _result(use, [1 if axis in axes else length for axis, length in enumerate(shape)])
    return _result(use, [length for axis, length in enumerate(shape) if axis not in axes])


def _global_pool(use: Use) -> Result:
    shape = use.given(0).shape
    return _result(use, [*shape[:2], *(1 for _ in shape[2:])])


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
    return _result(use, shape, work=math.prod(shape) * math.prod(kernel))


def _conv(use: Use) -> Result:
    x, weight = use.given(0).shape, use.given(1).shape
    group = use.integer("group", 1)
    if len(x) < 3 or len(weight) != len(x) or group < 1 or x[1] != weight[1] * group or weight[0] % group:
        raise ValueError(f"weights of {list(weight)} in {group} groups do not fit an input of {list(x)}")
    kernel = use.integers("kernel_shape") or list(weight[2:])
    if kernel != list(weight[2:]):
        raise ValueError(f"kernel_shape {kernel} is not that of its weights {list(weight)}")
    shape = [x[0], weight[0], *_window(use, kernel)]
    return _result(use, shape, work=math.prod(shape) * math.prod(weight[1:]))


def _matmul(use: Use) -> Result:
    left, right = use.given(0).shape, use.given(1).shape
    if not left or not right:
        raise ValueError("a matrix product of a scalar")
    a = (1, *left) if len(left) == 1 else left
    b = (*right, 1) if len(right) == 1 else right
    if a[-1] != b[-2]:
        raise ValueError(f"a matrix product of {list(left)} and {list(right)}")
    shape = [*broadcast([a[:-2], b[:-2]]), *(a[-2:-1] if len(left) > 1 else ()), *(b[-1:] if len(right) > 1 else ())]
    return _result(use, shape, work=math.prod(shape) * a[-1])


def _gemm(use: Use) -> Result:
    left, right = use.given(0).shape, use.given(1).shape
    if len(left) != 2 or len(right) != 2:
        raise ValueError(f"a matrix product of {list(left)} and {list(right)}")
    a = left[::-1] if use.integer("transA", 0) else left
    b = right[::-1] if use.integer("transB", 0) else right
    if a[1] != b[0]:
        raise ValueError(f"a matrix product of {list(a)} and {list(b)}")
    return _result(use, [a[0], b[1]], work=a[0] * a[1] * b[1])


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
    return _result(use, shape)


def _transpose(use: Use) -> Result:
    shape = use.given(0).shape
    order = use.integers("perm") or list(range(len(shape)))[::-1]
    if sorted(order) != list(range(len(shape))):
        raise ValueError(f"the order {order} of {len(shape)} axes")
    return _result(use, [shape[axis] for axis in order])


def _flatten(use: Use) -> Result:
    shape, axis = use.given(0).shape, use.integer("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise ValueError(f"axis {axis} of {len(shape)}")
    axis += len(shape) if axis < 0 else 0
    return _result(use, [math.prod(shape[:axis]), math.prod(shape[axis:])])


def _squeeze(use: Use) -> Result:
    shape, given = use.given(0).shape, use.integers("axes", 1)
    axes = _axes_of(given, len(shape)) if given else {axis for axis, length in enumerate(shape) if length == 1}
    if any(shape[axis] != 1 for axis in axes):
        raise ValueError(f"it takes axes {sorted(axes)} out of {list(shape)}")
    return _result(use, [length for axis, length in enumerate(shape) if axis not in axes])


def _unsqueeze(use: Use) -> Result:
    shape, given = list(use.given(0).shape), use.integers("axes", 1) or []
    if len(given) > MAXIMUM_AXES:
        raise ValueError(f"it adds {len(given)} axes")
    for axis in sorted(_axes_of(given, len(shape) + len(given))):
        shape.insert(axis, 1)
    return _result(use, shape)


def _concat(use: Use) -> Result:
    shapes = [use.given(index).shape for index in range(len(use.inputs))]
    axis = axis_of(use.integer("axis", 0), len(shapes[0]))
    rest = {shape[:axis] + shape[axis + 1 :] for shape in shapes if len(shape) > axis}
    if len(rest) != 1 or any(len(shape) != len(shapes[0]) for shape in shapes):
        raise ValueError("its inputs do not fit each other")
    shape = list(shapes[0])
    shape[axis] = sum(one[axis] for one in shapes)
    return _result(use, shape)


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


def _slices(use: Use) -> tuple[slice, ...]:
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
    return _result(use, [len(range(*cut.indices(length))) for cut, length in zip(_slices(use), shape, strict=True)])


def _gather(use: Use) -> Result:
    shape, indices = use.given(0).shape, use.given(1).shape
    axis = axis_of(use.integer("axis", 0), len(shape))
    return _result(use, [*shape[:axis], *indices, *shape[axis + 1 :]])


def _gather_nd(use: Use) -> Result:
    shape, indices, batch = use.given(0).shape, use.given(1).shape, use.integer("batch_dims", 0)
    if not indices or not 0 <= batch < len(indices) or batch + indices[-1] > len(shape):
        raise ValueError(f"indices of {list(indices)} into {list(shape)}")
    return _result(use, [*indices[:-1], *shape[batch + indices[-1] :]])


def _gather_elements(use: Use) -> Result:
    return _result(use, use.given(1).shape)


def _expand(use: Use) -> Result:
    return _result(use, broadcast([use.given(0).shape, _lengths(use.known(1))]))


def _tile(use: Use) -> Result:
    shape, repeats = use.given(0).shape, _lengths(use.known(1))
    if len(repeats) != len(shape):
        raise ValueError(f"{len(repeats)} repeats for {len(shape)} axes")
    return _result(use, [length * count for length, count in zip(shape, repeats, strict=True)])


def _constant_of_shape(use: Use) -> Result:
    value = use.node.attributes.get("value")
    kind = value.element_type if isinstance(value, Tensor) else 1
    return _result(use, _lengths(use.known(0)), kind)


def _lengths(values: Array) -> tuple[int, ...]:
    lengths = tuple(int(value) for value in values.ravel())
    if len(lengths) > MAXIMUM_AXES or min(lengths, default=0) < 0:
        raise ValueError(f"the shape {list(lengths[: MAXIMUM_AXES + 1])}")
    return lengths


def _range(use: Use) -> Result:
    start, limit, step = (float(use.known(index).ravel()[0]) for index in range(3))
    if step == 0 or not all(map(math.isfinite, (start, limit, step))):
        raise ValueError(f"from {start} to {limit} in steps of {step}")
    return _result(use, [max(0, math.ceil((limit - start) / step))])


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
    return _result(use, result)


def _resize(use: Use) -> Result:
    shape = use.given(0).shape
    scales, sizes = use.optional(2), use.optional(3)
    if use.integers("axes") is not None or use.word("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise ValueError("it resizes some of its axes")
    if sizes is not None and sizes.elements:
        wanted = _lengths(use.known(3))
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
    return _result(use, wanted, work=16 * max(math.prod(wanted), math.prod(shape)))


def _space_to_depth(use: Use) -> Result:
    block = use.integer("blocksize", 1)
    batch, channels, height, width = _four(use)
    if block < 1 or height % block or width % block:
        raise ValueError(f"blocks of {block} in {height}×{width}")
    return _result(use, [batch, channels * block**2, height // block, width // block])


def _depth_to_space(use: Use) -> Result:
    block = use.integer("blocksize", 1)
    batch, channels, height, width = _four(use)
    if block < 1 or channels % block**2:
        raise ValueError(f"blocks of {block} from {channels} channels")
    return _result(use, [batch, channels // block**2, height * block, width * block])


def _four(use: Use) -> tuple[int, int, int, int]:
    shape = use.given(0).shape
    if len(shape) != 4:
        raise ValueError(f"an input of {len(shape)} axes")
    return shape[0], shape[1], shape[2], shape[3]


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


def _shape(use: Use) -> Result:
    return _result(use, [len(_shape_value(use))], INT64, work=1)


def _shape_value(use: Use) -> Array:
    shape = use.given(0).shape
    end = use.node.attributes.get("end", len(shape))
    if not isinstance(end, int):
        raise ValueError("end is no integer")
    return np.array(shape[use.integer("start", 0) : end], np.int64)


def _size(use: Use) -> Result:
    return _result(use, [], INT64, work=1)


def _quantize(use: Use) -> Result:
    zero = use.optional(2)
    return _result(use, use.given(0).shape, UINT8 if zero is None else zero.element_type)


def _dequantize(use: Use) -> Result:
    return _result(use, use.given(0).shape, use.given(1).element_type)


SAME_SIZE = (
    *("Abs", "BatchNormalization", "Ceil", "Celu", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu"),
    *("GroupNormalization", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization", "LayerNormalization"),
    *("LeakyRelu", "Log", "LogSoftmax", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin"),
    *("Softmax", "Softplus", "Softsign", "Sqrt", "Tanh"),
)
BROADCASTING = ("Add", "Div", "Max", "Min", "Mod", "Mul", "Pow", "Sub", "Sum")
COMPARING = ("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Or")
REDUCING = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"),
    *("ReduceSum", "ReduceSumSquare"),
)
RULES: dict[str, Rule] = {
    **dict.fromkeys(SAME_SIZE, _same),
    **dict.fromkeys(("IsInf", "IsNaN", "Not"), _same_bool),
    **dict.fromkeys(BROADCASTING, _broadcast),
    **dict.fromkeys(COMPARING, _compare),
    **dict.fromkeys(REDUCING, _reduce),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _global_pool),
    **dict.fromkeys(("AveragePool", "MaxPool"), _pool),
    "Cast": _cast,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "DepthToSpace": _depth_to_space,
    "DequantizeLinear": _dequantize,
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "PRelu": _prelu,
    "Pad": _pad,
    "QuantizeLinear": _quantize,
    "Range": _range,
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}


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
    "Shape": _shape_value,
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
    "Slice": lambda use: use.known(0)[_slices(use)],
    "Expand": lambda use: np.broadcast_to(use.known(0), broadcast([use.given(0).shape, _lengths(use.known(1))])),
    "ConstantOfShape": lambda use: np.full(_lengths(use.known(0)), _fill(use.node.attributes.get("value"))),
    "Range": lambda use: np.arange(*(use.known(index).ravel()[0] for index in range(3))),
    "ReduceProd": _one(np.prod),  # of all elements; fewer don't fit the rule's shape and are refused
    "Transpose": lambda use: np.transpose(use.known(0), use.integers("perm")),
}


def _fill(value: Attribute | None) -> float:
    return float(value.data[0]) if isinstance(value, Tensor) and value.data.size else 0.0


def apply(use: Use) -> Result:
    """The sizes of an operator's outputs, with their values where they follow from shapes and are few.

    Raises:
        ValueError: it isn't allowed, or its output's size can't be told; one line.
    """
    node = use.node
    if node.operator not in RULES or node.domain not in ("", "ai.onnx"):
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
