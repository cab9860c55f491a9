"""An ONNX file, read without the `onnx` package: what inference must know of a graph before any engine sees it.

`onnx_fields` lists the fields that are read; here their values become tensors, nodes and declarations, or are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from protoleak.arrays import Array
from protoleak.bundle.onnx_fields import FIELD_TABLES
from protoleak.bundle.protobuf import Message, Reader, joined

# Element types of onnx.proto that a graph may hold.
FLOAT, UINT8, INT8, INT64, BOOL, FLOAT16, DOUBLE = 1, 2, 3, 7, 9, 10, 11
DTYPES: dict[int, np.dtype[np.generic]] = {
    FLOAT: np.dtype("<f4"),
    UINT8: np.dtype("u1"),
    INT8: np.dtype("i1"),
    4: np.dtype("<u2"),
    5: np.dtype("<i2"),
    6: np.dtype("<i4"),
    INT64: np.dtype("<i8"),
    BOOL: np.dtype("?"),
    FLOAT16: np.dtype("<f2"),
    DOUBLE: np.dtype("<f8"),
    12: np.dtype("<u4"),
    13: np.dtype("<u8"),
}
TYPE_NAMES = {code: "bool" if code == BOOL else dtype.name for code, dtype in DTYPES.items()}
MAXIMUM_AXES = 8
MAXIMUM_SIDE = 2**31 - 1
EXTERNAL = 1  # data_location
DEFAULT_DOMAINS = ("", "ai.onnx")
# Marks of FlatBuffers at byte 4: of ONNX Runtime's own format and of TensorFlow Lite's. ONNX Runtime looks for its own
# first, and opens another graph in the same bytes than is read here: a ModelProto can begin with a text that says so.
OTHER_FORMATS = (b"ORTM", b"TFL3")
# Behind the integer types of int32_data: these hold the bits of float16, the others are numbers.
IN_INT32 = frozenset({2, 3, 4, 5, 6, 9, 10})
IN_UINT64 = frozenset({12, 13})


@dataclass(frozen=True)
class Tensor:
    """A constant of a graph.

    Attributes:
        element_type: a key of DTYPES; 0 where the data is external and nothing is known.
        shape: of as many elements as there are data.
        external: its data is said to lie in another file.
    """

    name: str
    element_type: int
    shape: tuple[int, ...]
    data: Array
    external: bool = False

    @property
    def values(self) -> Array:
        """The elements in their shape."""
        return self.data.reshape(self.shape)


Attribute: TypeAlias = "int | float | bytes | Tensor | list[int] | list[float] | list[bytes]"


@dataclass(frozen=True)
class Node:
    """One operator's use. Optional inputs that are left out are ""."""

    operator: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True)
class Declared:
    """A tensor's declared type.

    Attributes:
        element_type: of DTYPES; 0 where none is declared.
        shape: axes of open length are None; None altogether where no shape is declared.
    """

    name: str
    element_type: int
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class OnnxModel:
    """A graph with what it holds.

    Attributes:
        opsets: versions of ONNX's own operators that are imported; one in a bundle.
    """

    opsets: tuple[int, ...]
    nodes: tuple[Node, ...]
    constants: tuple[Tensor, ...]
    inputs: tuple[Declared, ...]
    outputs: tuple[Declared, ...]

    def tensors(self) -> Iterator[Tensor]:
        """All constants, those in attributes too."""
        yield from self.constants
        for node in self.nodes:
            yield from (value for value in node.attributes.values() if isinstance(value, Tensor))


def read_model(model: bytes) -> OnnxModel:
    """Reads a serialised ONNX ModelProto, strictly.

    Raises:
        ValueError: it is none, or holds what no graph of protoleak needs; one line says what.
    """
    try:
        if model[4:8] in OTHER_FORMATS:
            raise ValueError(f"its first bytes hold {model[4:8].decode()}, by which engines take it for another format")
        proto = Reader(FIELD_TABLES).read(memoryview(model), "ModelProto")
        return _model(proto)
    except ValueError as error:
        raise ValueError(f"not an ONNX model that protoleak reads: {error}") from None


def _model(proto: Message) -> OnnxModel:
    if "graph" not in proto:
        raise ValueError("no graph in it")
    graph = proto["graph"]
    versions = {
        entry.get("version", 0) for entry in proto.get("opset_import", []) if entry.get("domain", "") in DEFAULT_DOMAINS
    }
    constants = tuple(_tensor(tensor) for tensor in graph.get("initializer", []))
    inputs = tuple(_declared(value) for value in graph.get("input", []))
    nodes = tuple(_node(node) for node in graph.get("node", []))
    for value in graph.get("value_info", []):
        _declared(value)
    # A constant may have the name of an input, for which it then stands where nothing is given.
    made = [name for node in nodes for name in node.outputs if name]
    for others in ([tensor.name for tensor in constants], [declared.name for declared in inputs]):
        if len(made) + len(others) > len({*made, *others}):
            raise ValueError("two tensors of one name")
    outputs = tuple(_declared(one) for one in graph.get("output", []))
    if len(outputs) > len({declared.name for declared in outputs}):
        raise ValueError("two outputs of one name")
    return OnnxModel(tuple(sorted(versions)), nodes, constants, inputs, outputs)


def _node(proto: Message) -> Node:
    operator = proto.get("op_type", "")
    attributes: dict[str, Attribute] = {}
    for one in proto.get("attribute", []):
        name = one.get("name", "")
        if name in attributes:
            raise ValueError(f"the attribute {name!r} of {operator!r} twice")
        attributes[name] = _attribute(one, operator)
    return Node(
        operator, proto.get("domain", ""), tuple(proto.get("input", [])), tuple(proto.get("output", [])), attributes
    )


# What onnx.proto's AttributeType says the value's field is.
ATTRIBUTE_FIELDS = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}


def _attribute(proto: Message, operator: str) -> Attribute:
    kind = ATTRIBUTE_FIELDS.get(proto.get("type", 0))
    present = [name for name in ATTRIBUTE_FIELDS.values() if name in proto]
    if kind is None or any(name != kind for name in present):
        raise ValueError(f"the attribute {proto.get('name', '')!r} of {operator!r} holds no value of its type")
    if kind == "t":
        return _tensor(proto.get("t", {}))
    if kind == "floats":
        return [float(value) for value in joined(proto.get("floats"), np.float32)]
    if kind == "ints":
        return [int(value) for value in joined(proto.get("ints"), np.int64)]
    if kind == "strings":
        return [bytes(value) for value in proto.get("strings", [])]
    if kind == "s":
        return bytes(proto.get("s", b""))
    value: float | int = proto.get(kind, 0)
    return value


def _tensor(proto: Message) -> Tensor:
    name, kind = proto.get("name", "") or "(unnamed)", proto.get("data_type", 0)
    external = "external_data" in proto or proto.get("data_location", 0) == EXTERNAL
    if external:
        return Tensor(name, 0, (0,), np.empty(0, np.float32), external=True)
    if kind not in DTYPES:
        raise ValueError(f"the constant {name!r} has element type {kind}, which protoleak does not use")
    shape = tuple(int(length) for length in joined(proto.get("dims"), np.int64))
    if len(shape) > MAXIMUM_AXES or any(not 0 <= length <= MAXIMUM_SIDE for length in shape):
        raise ValueError(f"the constant {name!r} has the shape {list(shape[: MAXIMUM_AXES + 1])}")
    holding = [field for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data")
               if field in proto]  # fmt: skip
    if len(holding) > 1:
        raise ValueError(f"the constant {name!r} has its data twice, as {' and '.join(holding)}")
    data = _data(proto, holding[0], kind, name) if holding else np.empty(0, DTYPES[kind])
    if data.size != math.prod(shape):
        raise ValueError(f"the constant {name!r} holds {data.size} numbers for the shape {list(shape)}")
    return Tensor(name, kind, shape, data)


def _data(proto: Message, holding: str, kind: int, name: str) -> Array:
    dtype = DTYPES[kind]
    if holding == "raw_data":
        raw = proto["raw_data"]
        if len(raw) % dtype.itemsize:
            raise ValueError(f"the constant {name!r} holds {len(raw)} bytes, no multiple of {dtype.itemsize}")
        return np.frombuffer(raw, np.uint8).view(np.bool_) if kind == BOOL else np.frombuffer(raw, dtype)
    fits = {
        "float_data": kind == FLOAT,
        "double_data": kind == DOUBLE,
        "int32_data": kind in IN_INT32,
        "int64_data": kind == INT64,
        "uint64_data": kind in IN_UINT64,
    }
    if not fits[holding]:
        raise ValueError(f"the constant {name!r} of {TYPE_NAMES[kind]} has its data in {holding}")
    if holding in ("float_data", "double_data"):
        return joined(proto[holding], np.float32 if kind == FLOAT else np.float64)
    numbers = joined(proto[holding], np.int64)
    if kind == FLOAT16:  # stored as the integers of its bits
        return numbers.astype(np.uint16).view(np.float16)
    return numbers.astype(dtype)


def _declared(proto: Message) -> Declared:
    name = proto.get("name", "")
    tensor = proto.get("type", {}).get("tensor_type", {})
    kind = tensor.get("elem_type", 0)
    if kind not in DTYPES and kind != 0:
        raise ValueError(f"{name!r} has element type {kind}, which protoleak does not use")
    if "shape" not in tensor:
        return Declared(name, kind, None)
    axes: list[int | None] = []
    for axis in tensor["shape"].get("dim", []):
        length = axis.get("dim_value")
        if length is not None and "dim_param" in axis:
            raise ValueError(f"{name!r} has an axis with both a length and a name")
        if length is not None and not 0 <= length <= MAXIMUM_SIDE:
            raise ValueError(f"{name!r} has an axis of length {length}")
        axes.append(length)
    if len(axes) > MAXIMUM_AXES:
        raise ValueError(f"{name!r} has {len(axes)} axes")
    return Declared(name, kind, tuple(axes))
