"""How large every tensor of a graph gets, and how much is computed: known, and bounded, before anything is executed.

A small file can ask for any amount of memory and time: a ConstantOfShape, an Expand, a product of two vectors, a chain
of Concats of a tensor with itself. So the graph is followed node by node with shapes alone, for one image and for
several, and refused where a tensor, what is alive at once, what is computed on loading, or the arithmetic is beyond the
limits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from protoleak.bundle.onnx_model import TYPE_NAMES, OnnxModel
from protoleak.bundle.operators.base import LARGEST_KNOWN, Sized, Use
from protoleak.bundle.operators.inputs import check_inputs
from protoleak.bundle.operators.rules import apply

MIB = 2**20
LARGEST_TENSOR = 512 * MIB  # bytes; an SD-VAE encoder's are 34 MiB at 256 pixels and 134 at 512
LARGEST_ALIVE = 1024 * MIB  # of what an engine must keep at once for one image, inputs and outputs included
LARGEST_FOLDED = 512 * MIB  # of what follows from constants alone, which engines compute and keep on loading
MOST_FOLDING = 4 * 10**9  # steps of that
MOST_WORK = 10**12  # multiply-adds for one image; an SD-VAE encoder takes 1.4e11 at 256 pixels and 5.5e11 at 512
SEVERAL = 8  # images in the second pass: what grows faster than the batch is refused
# What opens in little time and memory in every engine, so that nobody needs to try: a fifth of an SD-VAE encoder.
LIGHT_NODES, LIGHT_CONSTANTS, LIGHT_FOLDING, LIGHT_ALIVE = 400, 32 * MIB, 10**7, 256 * MIB


@dataclass(frozen=True)
class Port:
    """An input or output that a graph must have.

    Attributes:
        shape: None for an axis of open length: the batch.
    """

    name: str
    element_type: int
    shape: tuple[int | None, ...]

    def sized(self, free: int) -> Sized:
        return Sized(self.element_type, tuple(free if length is None else length for length in self.shape))

    def __str__(self) -> str:
        axes = ", ".join("N" if length is None else str(length) for length in self.shape)
        return f"{self.name} {TYPE_NAMES[self.element_type]} [{axes}]"


@dataclass(frozen=True)
class Sizes:
    """What following a graph gave.

    Attributes:
        outputs: of the graph, by name.
        total: bytes of all tensors that nodes make.
        work: multiply-adds or element steps.
        nodes: how many there are.
        constants: bytes of what the file holds.
        folding: steps of what engines compute on loading.
        alive: bytes of what is alive at once, at most.
    """

    outputs: dict[str, Sized]
    total: int
    work: int
    nodes: int
    constants: int
    folding: int
    alive: int

    @property
    def light(self) -> bool:
        """Whether engines open the graph in little time and memory, whatever they do with it."""
        return (
            self.nodes <= LIGHT_NODES
            and self.constants <= LIGHT_CONSTANTS
            and self.folding <= LIGHT_FOLDING
            and self.alive <= LIGHT_ALIVE
        )


def follow(model: OnnxModel, inputs: Iterable[Sized], batch: int = 1) -> Sizes:
    """Follows a graph with inputs of these shapes, in the order of the graph's inputs.

    Args:
        batch: images that the inputs hold; limits of what is made for each image grow with it.

    Raises:
        ValueError: an operator that isn't allowed, a size that can't be told, or one beyond a limit; one line.
    """
    tensors = {declared.name: given for declared, given in zip(model.inputs, inputs, strict=True)}
    for constant in model.constants:
        if constant.name in tensors:  # ONNX Runtime takes it for a default, OpenVINO for what holds
            raise ValueError(f"the constant {constant.name!r} has the name of an input")
        small = constant.values if constant.data.size <= LARGEST_KNOWN else None
        tensors[constant.name] = Sized(constant.element_type, constant.shape, small, constant=True)
    last_use = _last_uses(model)
    constants = sum(sized.bytes for sized in tensors.values() if sized.constant)
    most_alive = alive = sum(sized.bytes for sized in tensors.values() if not sized.constant)
    total = work = folded = folding = 0
    for index, node in enumerate(model.nodes):
        where = f"operator {node.operator!r} (node {index})"
        missing = [name for name in node.inputs if name and name not in tensors]
        if missing:
            raise ValueError(f"{where} takes {missing[0]!r}, which nothing before it makes")
        try:
            use = Use(node, tuple(tensors[name] if name else None for name in node.inputs))
            check_inputs(use, max(model.opsets))
            result = apply(use)
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            raise ValueError(f"{where}: {error}") from None
        work += result.work
        for name, sized in zip(node.outputs, result.outputs, strict=False):
            _check(where, "a tensor", sized.bytes, LARGEST_TENSOR * batch)
            tensors[name] = sized
            total += sized.bytes
            if sized.constant:
                folded += sized.bytes
                folding += result.work
            else:
                alive += sized.bytes
        most_alive = max(most_alive, alive)
        _check(where, "what is alive at once", alive, LARGEST_ALIVE * batch)
        _check(where, "what follows from constants", folded, LARGEST_FOLDED)
        _check(where, "the arithmetic on loading", folding, MOST_FOLDING, "steps")
        _check(where, "the arithmetic up to here", work, MOST_WORK * batch, "multiply-adds")
        for name in {*node.inputs, *node.outputs} - {""}:
            if last_use.get(name, -1) == index and not tensors[name].constant:
                alive -= tensors[name].bytes
    outputs = {}
    for declared in model.outputs:
        if declared.name not in tensors:
            raise ValueError(f"nothing makes its output {declared.name!r}")
        outputs[declared.name] = tensors[declared.name]
    return Sizes(outputs, total, work, len(model.nodes), constants, folding, most_alive)


def _last_uses(model: OnnxModel) -> dict[str, int]:
    """Index of the last node that makes or takes a tensor; outputs of the graph are kept to its end."""
    last: dict[str, int] = {}
    for index, node in enumerate(model.nodes):
        last |= dict.fromkeys((*node.outputs, *node.inputs), index)
    for declared in model.outputs:
        last[declared.name] = len(model.nodes)
    return last


def _check(where: str, what: str, found: int, limit: int, unit: str = "bytes") -> None:
    if found > limit:
        raise ValueError(f"{where}: {what} comes to {found:.3g} {unit}, more than the {limit:.3g} allowed")


def check_sizes(model: OnnxModel, expected_inputs: tuple[Port, ...], expected_outputs: tuple[Port, ...]) -> Sizes:
    """Holds a graph to what its place in a bundle asks for, and to the limits; returns its sizes for one image.

    Raises:
        ValueError: it has other inputs or outputs, in name, type or shape, or goes beyond a limit; one line.
    """
    _check_declared(model, expected_inputs)
    order = {port.name: port for port in expected_inputs}
    ports = [order[declared.name] for declared in model.inputs]
    one = follow(model, (port.sized(1) for port in ports))
    several = follow(model, (port.sized(SEVERAL) for port in ports), SEVERAL)
    if several.total > SEVERAL * one.total + MIB or several.work > SEVERAL * one.work + MIB:
        raise ValueError(
            f"it grows faster than the batch: {several.total} bytes for {SEVERAL} images, {one.total} for 1"
        )
    lacking = [port.name for port in expected_outputs if port.name not in one.outputs]
    if lacking:
        raise ValueError(f"it has no output {', '.join(lacking)}")
    for port in expected_outputs:
        for batch, sizes in ((1, one), (SEVERAL, several)):
            found, asked = sizes.outputs[port.name], port.sized(batch)
            if (found.element_type, found.shape) != (asked.element_type, asked.shape):
                raise ValueError(
                    f"it gives {TYPE_NAMES[found.element_type]} {list(found.shape)} for {batch} images where {port} is "
                    "asked for"
                )
    return one


def _check_declared(model: OnnxModel, expected: tuple[Port, ...]) -> None:
    names = {port.name for port in expected}
    found = {declared.name for declared in model.inputs}
    if names != found:
        raise ValueError(f"it takes {', '.join(sorted(found)) or 'nothing'} where {', '.join(sorted(names))} is given")
    for port in expected:
        [declared] = [one for one in model.inputs if one.name == port.name]
        fits = declared.shape is not None and len(declared.shape) == len(port.shape)
        fits = fits and all(
            length in (None, wanted) or (wanted is None and length == 1)
            for length, wanted in zip(declared.shape or (), port.shape, strict=True)
        )
        if declared.element_type != port.element_type or not fits:
            kind = TYPE_NAMES.get(declared.element_type, "nothing")
            raise ValueError(f"it takes {port.name} as {kind} {list(declared.shape or ())} where {port} is given")
