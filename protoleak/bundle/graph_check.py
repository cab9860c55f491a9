"""Looks into an ONNX file without the `onnx` package: finiteness of weights, and nothing that reaches outside the file.

The inference side must judge graphs from untrusted bundles before any engine sees them, and it does not depend on
`onnx`. ONNX is protobuf; the few fields needed here are read straight from the wire format
(https://protobuf.dev/programming-guides/encoding, field numbers from onnx.proto).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Field numbers of onnx.proto.
MODEL_GRAPH = 7
MODEL_FUNCTIONS = 25
GRAPH_NODE = 1
GRAPH_INITIALIZER = 5
GRAPH_OUTPUT = 12
GRAPH_SPARSE_INITIALIZER = 15
FUNCTION_NODE = 7
VALUE_NAME = 1
NODE_OP_TYPE = 4
NODE_ATTRIBUTE = 5
ATTRIBUTE_TENSOR = 5
ATTRIBUTE_GRAPH = 6
ATTRIBUTE_TENSORS = 10
ATTRIBUTE_GRAPHS = 11
ATTRIBUTE_SPARSE_TENSOR = 22
ATTRIBUTE_SPARSE_TENSORS = 23
SPARSE_TENSOR_VALUES = 1
SPARSE_TENSOR_INDICES = 2
TENSOR_DATA_TYPE = 2
TENSOR_FLOAT_DATA = 4
TENSOR_INT32_DATA = 5
TENSOR_NAME = 8
TENSOR_RAW_DATA = 9
TENSOR_DOUBLE_DATA = 10
TENSOR_EXTERNAL_DATA = 13
TENSOR_DATA_LOCATION = 14

FLOAT16 = 10
FLOATING_TYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), FLOAT16: np.dtype("<f2"), 11: np.dtype("<f8")}
RANDOM_OPERATORS = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)

WIRE_VARINT, WIRE_FIXED64, WIRE_BYTES, WIRE_FIXED32 = 0, 1, 2, 5


@dataclass
class OnnxFindings:
    """What is wrong with a graph: each list holds names, and is empty for a sound graph."""

    non_finite_tensors: list[str] = field(default_factory=list)
    external_tensors: list[str] = field(default_factory=list)
    random_operators: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        """One phrase per kind of problem."""
        phrases = []
        if self.non_finite_tensors:
            phrases.append(f"NaN or infinite weights in {', '.join(self.non_finite_tensors[:3])}")
        if self.external_tensors:
            phrases.append(f"weights stored outside the file: {', '.join(self.external_tensors[:3])}")
        if self.random_operators:
            phrases.append(f"random operators: {', '.join(sorted(set(self.random_operators)))}")
        return phrases


def inspect_onnx(model: bytes) -> OnnxFindings:
    """Reads a serialised ONNX ModelProto and reports what must not be in it.

    Raises:
        ValueError: the bytes are not a protobuf message with an ONNX graph in it.
    """
    try:
        return _inspect_model(model)
    except RecursionError:
        raise ValueError("not an ONNX model: graphs are nested too deeply") from None


def output_names(model: bytes) -> list[str]:
    """The names of a serialised ONNX model's outputs, in their order.

    Raises:
        ValueError: the bytes are not a protobuf message with an ONNX graph in it.
    """
    names = [
        bytes(name).decode("utf-8", "replace")
        for graph in _messages(memoryview(model), MODEL_GRAPH)
        for output in _messages(graph, GRAPH_OUTPUT)
        for name in _messages(output, VALUE_NAME)
    ]
    if not names:
        raise ValueError("not an ONNX model: no output found")
    return names


def _inspect_model(model: bytes) -> OnnxFindings:
    findings = OnnxFindings()
    graphs = 0
    for number, value in _fields(memoryview(model)):
        if number == MODEL_GRAPH and isinstance(value, memoryview):
            graphs += 1
            _inspect_graph(value, findings)
        elif number == MODEL_FUNCTIONS and isinstance(value, memoryview):
            for inner, node in _fields(value):
                if inner == FUNCTION_NODE and isinstance(node, memoryview):
                    _inspect_node(node, findings)
    if graphs != 1:
        raise ValueError(f"not an ONNX model: {graphs} graphs found, 1 expected")
    return findings


def _inspect_graph(graph: memoryview, findings: OnnxFindings) -> None:
    for number, value in _fields(graph):
        if not isinstance(value, memoryview):
            continue
        if number == GRAPH_NODE:
            _inspect_node(value, findings)
        elif number == GRAPH_INITIALIZER:
            _inspect_tensor(value, findings)
        elif number == GRAPH_SPARSE_INITIALIZER:
            _inspect_sparse_tensor(value, findings)


def _inspect_node(node: memoryview, findings: OnnxFindings) -> None:
    for number, value in _fields(node):
        if not isinstance(value, memoryview):
            continue
        if number == NODE_OP_TYPE:
            operator = bytes(value).decode("utf-8", "replace")
            if operator in RANDOM_OPERATORS:
                findings.random_operators.append(operator)
        elif number == NODE_ATTRIBUTE:
            _inspect_attribute(value, findings)


def _inspect_attribute(attribute: memoryview, findings: OnnxFindings) -> None:
    for number, value in _fields(attribute):
        if not isinstance(value, memoryview):
            continue
        if number in (ATTRIBUTE_TENSOR, ATTRIBUTE_TENSORS):
            _inspect_tensor(value, findings)
        elif number in (ATTRIBUTE_SPARSE_TENSOR, ATTRIBUTE_SPARSE_TENSORS):
            _inspect_sparse_tensor(value, findings)
        elif number in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS):
            _inspect_graph(value, findings)


def _inspect_sparse_tensor(tensor: memoryview, findings: OnnxFindings) -> None:
    for number, value in _fields(tensor):
        if number in (SPARSE_TENSOR_VALUES, SPARSE_TENSOR_INDICES) and isinstance(value, memoryview):
            _inspect_tensor(value, findings)


def _inspect_tensor(tensor: memoryview, findings: OnnxFindings) -> None:
    name, data_type, external = "(unnamed)", 0, False
    payloads: list[memoryview] = []
    halves: list[int] = []  # float16 may be stored as the integers of its bits
    for number, value in _fields(tensor):
        if number == TENSOR_DATA_TYPE and isinstance(value, int):
            data_type = value
        elif number == TENSOR_NAME and isinstance(value, memoryview):
            name = bytes(value).decode("utf-8", "replace")
        elif number in (TENSOR_RAW_DATA, TENSOR_FLOAT_DATA, TENSOR_DOUBLE_DATA) and isinstance(value, memoryview):
            payloads.append(value)
        elif number == TENSOR_INT32_DATA:
            halves += _varints(value) if isinstance(value, memoryview) else [value]
        elif number == TENSOR_EXTERNAL_DATA or (number == TENSOR_DATA_LOCATION and value == 1):
            external = True
    if external:
        findings.external_tensors.append(name)
    dtype = FLOATING_TYPES.get(data_type)
    if dtype is None:
        return
    if data_type == FLOAT16 and halves:
        payloads.append(memoryview(np.array([half & 0xFFFF for half in halves], dtype="<u2").tobytes()))
    for payload in payloads:
        if len(payload) % dtype.itemsize:
            raise ValueError(f"tensor {name} holds {len(payload)} bytes, no multiple of {dtype.itemsize}")
        if not np.isfinite(np.frombuffer(payload, dtype=dtype)).all():
            findings.non_finite_tensors.append(name)
            return


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """The values of one field that holds messages or strings."""
    for number, value in _fields(message):
        if number == wanted and isinstance(value, memoryview):
            yield value


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The (field number, value) pairs of one protobuf message; length-delimited values are views, not copies."""
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        if wire == WIRE_VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire == WIRE_BYTES:
            length, position = _varint(message, position)
        elif wire == WIRE_FIXED64:
            length = 8
        elif wire == WIRE_FIXED32:
            length = 4
        else:
            raise ValueError(f"not an ONNX model: wire type {wire} at byte {position}")
        if position + length > end:
            raise ValueError(f"not an ONNX model: a field of {length} bytes ends past the message's {end}")
        yield number, message[position : position + length]
        position += length


def _varints(packed: memoryview) -> list[int]:
    values, position = [], 0
    while position < len(packed):
        value, position = _varint(packed, position)
        values.append(value)
    return values


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise ValueError("not an ONNX model: the file ends inside a number")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError(f"not an ONNX model: a number of more than ten bytes at byte {position}")
