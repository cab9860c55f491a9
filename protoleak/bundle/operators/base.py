"""What a rule is given and what it returns: one use of an operator, and tensors whose sizes are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from protoleak.arrays import Array
from protoleak.bundle.onnx_model import DTYPES, MAXIMUM_AXES, Node

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
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Of all its numbers."""
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
        """An input that may be left out."""
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
        """An attribute that is one integer."""
        found = self.node.attributes.get(attribute, default)
        if not isinstance(found, int):
            raise ValueError(f"{attribute} is no integer")
        return found

    def word(self, attribute: str, default: str) -> str:
        """An attribute that is text."""
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


def sized_result(use: Use, shape: Sequence[int], element_type: int | None = None, work: int | None = None) -> Result:
    """The result of an operator with one output.

    Args:
        element_type: None for that of the first input.
        work: None for one step per element that is read or written, whichever are more.
    """
    kind = use.given(0).element_type if element_type is None else element_type
    if len(shape) > MAXIMUM_AXES:
        raise ValueError(f"its output has {len(shape)} axes")
    out = Sized(kind, tuple(int(length) for length in shape))
    read = sum(found.elements for found in use.inputs if found is not None)
    return Result((out,), max(read, out.elements) if work is None else work)


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


def axis_of(axis: int, axes: int) -> int:
    """An axis counted from the front."""
    if not -axes <= axis < axes:
        raise ValueError(f"axis {axis} of {axes}")
    return axis % axes


def axes_of(given: Sequence[int], axes: int) -> set[int]:
    """Axes counted from the front, each once."""
    found = [axis_of(axis, axes) for axis in given]
    if len(found) > len(set(found)):
        raise ValueError(f"the axes {list(given)} are not distinct")
    return set(found)


def lengths(values: Array) -> tuple[int, ...]:
    """A shape from the values of a tensor that holds one."""
    found = tuple(int(value) for value in values.ravel())
    if len(found) > MAXIMUM_AXES or min(found, default=0) < 0:
        raise ValueError(f"the shape {list(found[: MAXIMUM_AXES + 1])}")
    return found
