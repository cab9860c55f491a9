"""A strict reader of protobuf messages, for files from strangers: it accepts less than runtimes do, never more.

What two readers could understand differently is refused: keys of more than five bytes or 32 bits (C++ runtimes drop the
upper bits, which hides a field from a reader that keeps them), fields that a message's table doesn't list or lists
with another type, a second value where a message holds one (runtimes merge them), numbers that don't fit their type,
groups, and text that is not UTF-8. https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from protoleak.arrays import Array

Kind: TypeAlias = Literal["int32", "int64", "float", "double", "bytes", "text", "message", "floats", "doubles", "ints"]
Message: TypeAlias = dict[str, Any]  # field → its value, or list of values where it may be repeated

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAXIMUM_LENGTH = 2**31 - 1  # of a message, as in protobuf
MAXIMUM_FIELDS = 500_000  # in one file: a hundred times those of the largest graphs here; a bound on the time taken
MAXIMUM_INTEGERS = 8_000_000  # packed in one file; weights lie in raw data, so these are a few shapes
LONGEST_KEY = 5
LONGEST_NUMBER = 10
WIRE: dict[Kind, int] = {"int32": VARINT, "int64": VARINT, "float": FIXED32, "double": FIXED64}
PACKED: dict[Kind, tuple[int, type[np.generic]]] = {"floats": (FIXED32, np.float32), "doubles": (FIXED64, np.float64)}


@dataclass(frozen=True)
class Field:
    """One field of a message type.

    Attributes:
        name: that its value gets in the result.
        kind: "floats", "doubles" and "ints" are repeated numbers, packed or not, read as arrays: float32, float64 and
            int64; "bytes" are left as views of the file.
        repeated: a list of values; else a second one is refused.
        of: the message type, where kind is "message".
    """

    name: str
    kind: Kind
    repeated: bool = False
    of: str = ""


Tables: TypeAlias = Mapping[str, Mapping[int, Field]]  # message type → field number → field


@dataclass
class Reader:
    """Reads messages of the types in `tables`; one object reads one file.

    Attributes:
        fields, integers: how many fields, and packed integers, have been read in all messages together.
    """

    tables: Tables
    fields: int = field(default=0, init=False)
    integers: int = field(default=0, init=False)

    def read(self, message: memoryview, kind: str) -> Message:
        """One message and those in it. Tables that don't refer to themselves bound the depth.

        Raises:
            ValueError: it isn't such a message, or one that two readers could understand differently.
        """
        table = self.tables[kind]
        result: Message = {}
        position, end = 0, len(message)
        while position < end:
            self.fields += 1
            if self.fields > MAXIMUM_FIELDS:
                raise ValueError(f"more than {MAXIMUM_FIELDS} fields")
            key, position = _number(message, position, LONGEST_KEY)
            if key >> 32:
                raise ValueError(f"a field's key of more than 32 bits before byte {position} of a {kind}")
            number, wire = key >> 3, key & 7
            known = table.get(number)
            if known is None:
                raise ValueError(f"field {number} of a {kind}, which protoleak does not read")
            position = self._value(message, position, wire, known, kind, result)
        return result

    def _value(self, message: memoryview, position: int, wire: int, known: Field, kind: str, result: Message) -> int:
        """Puts one value into the result; returns the position behind it."""
        if wire == VARINT:
            value: int | memoryview
            value, position = _number(message, position, LONGEST_NUMBER)
        elif wire in (FIXED32, FIXED64, BYTES):
            length = 4 if wire == FIXED32 else 8
            if wire == BYTES:
                length, position = _number(message, position, LONGEST_KEY)
            if length > MAXIMUM_LENGTH or position + length > len(message):
                raise ValueError(f"{known.name} of {length} bytes ends past the {len(message)} of its {kind}")
            value, position = message[position : position + length], position + length
        else:
            raise ValueError(f"wire type {wire} at byte {position} of a {kind}")
        if known.kind in ("floats", "doubles", "ints"):
            if known.kind == "ints" and isinstance(value, memoryview):
                self.integers += len(value)  # of one byte at least
                if self.integers > MAXIMUM_INTEGERS:
                    raise ValueError(f"more than {MAXIMUM_INTEGERS} bytes of packed integers")
            result.setdefault(known.name, []).append(_numbers(value, wire, known, kind))
            return position
        decoded = self._decoded(value, wire, known, kind)
        if known.repeated:
            result.setdefault(known.name, []).append(decoded)
        elif known.name in result:
            raise ValueError(f"{known.name} of a {kind} twice")
        else:
            result[known.name] = decoded
        return position

    def _decoded(self, value: int | memoryview, wire: int, known: Field, kind: str) -> object:
        if wire != WIRE.get(known.kind, BYTES):
            raise ValueError(f"{known.name} of a {kind} has wire type {wire}")
        if isinstance(value, int):
            signed = value - 2**64 if value >= 2**63 else value
            if known.kind == "int32" and not -(2**31) <= signed < 2**31:
                raise ValueError(f"{known.name} of a {kind} is {signed}, which does not fit 32 bits")
            return signed
        if known.kind == "message":
            return self.read(value, known.of)
        if known.kind == "text":
            try:
                return bytes(value).decode("utf-8")
            except UnicodeDecodeError:
                raise ValueError(f"{known.name} of a {kind} is not UTF-8") from None
        if known.kind == "bytes":
            return value
        return float(np.frombuffer(value, "<f4" if known.kind == "float" else "<f8")[0])


def joined(parts: list[Array] | None, dtype: type[np.generic]) -> Array:
    """The numbers of a repeated field, as `Reader` leaves them, in one array."""
    if not parts:
        return np.empty(0, dtype)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _numbers(value: int | memoryview, wire: int, known: Field, kind: str) -> Array:
    """The numbers of a field in a message of this kind."""
    if known.kind == "ints":
        if isinstance(value, int):
            return np.array([value], np.uint64).view(np.int64)
        where = f"{known.name} of a {kind}"
        if wire != BYTES:
            raise ValueError(f"{where} has wire type {wire}")
        return _packed_integers(value, where)
    single, dtype = PACKED[known.kind]
    where = f"{known.name} of a {kind}"
    if isinstance(value, int) or wire not in (single, BYTES):
        raise ValueError(f"{where} has wire type {wire}")
    if len(value) % np.dtype(dtype).itemsize:
        raise ValueError(f"{where}: {len(value)} bytes are no multiple of {np.dtype(dtype).itemsize}")
    return np.frombuffer(value, np.dtype(dtype).newbyteorder("<"))


def _packed_integers(packed: memoryview, where: str) -> Array:
    """Varints behind one another, as int64 [n]; without a loop over them, since there may be millions."""
    data = np.frombuffer(packed, np.uint8)
    ends = np.flatnonzero(data < 0x80)
    if data.size and (ends.size == 0 or ends[-1] != data.size - 1):
        raise ValueError(f"{where} ends inside a number")
    starts = np.concatenate([[0], ends[:-1] + 1]) if ends.size else ends
    lengths = ends - starts + 1
    if lengths.size and lengths.max() > LONGEST_NUMBER:
        raise ValueError(f"{where} holds a number of more than ten bytes")
    values = np.zeros(ends.size, np.uint64)
    for index in range(int(lengths.max()) if lengths.size else 0):
        has = lengths > index
        values[has] |= (data[starts[has] + index] & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * index)
    return values.view(np.int64)


def _number(message: memoryview, position: int, longest: int) -> tuple[int, int]:
    """One varint of at most so many bytes, in 64 bits, and the position behind it."""
    if position < len(message) and (byte := message[position]) < 0x80:  # most are of one byte
        return byte, position + 1
    value = 0
    for index in range(longest):
        if position >= len(message):
            raise ValueError("it ends inside a number")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & (2**64 - 1), position
    raise ValueError(f"a number of more than {longest} bytes before byte {position}")
