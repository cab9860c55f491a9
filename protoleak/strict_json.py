"""JSON as it is read from strangers, where whatever is wrong is one kind of error, and as it is written to files."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from protoleak.errors import shortened

T = TypeVar("T")
DEEPEST = 64  # ours have 10; what prints or copies values of free form goes into itself for each
PARTS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def decode_json(raw: bytes, kind: type[T]) -> T:
    """The content as a value of the type asked for.

    Raises:
        msgspec.DecodeError: it isn't JSON, not of that type, not UTF-8, or nested more deeply than can be read. Its
            message is one short printable line, whatever the file holds.
    """
    try:
        value = msgspec.json.decode(raw, type=kind)
        if _depth(raw) > DEEPEST:
            raise RecursionError
        return value
    except RecursionError:
        raise msgspec.DecodeError("it is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError, OverflowError, ValueError) as error:
        text = "".join(character if character.isprintable() else "�" for character in str(error))
        raise msgspec.DecodeError(shortened(text)) from error


def json_bytes(value: object) -> bytes:
    """Indented JSON with a line end, for files that people read too; NumPy's numbers are written as Python's."""
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=_plain), indent=2) + b"\n"


def _plain(value: object) -> object:
    from numpy import generic

    if isinstance(value, generic):
        return value.item()
    raise NotImplementedError(f"{type(value).__name__} has no form in JSON")


def _depth(raw: bytes) -> int:
    """How deeply well-formed JSON is nested; 0 where so few brackets stand in it that nobody needs to know."""
    if raw.count(b"[") + raw.count(b"{") <= DEEPEST:
        return 0
    depth = deepest = 0
    for part in PARTS.finditer(raw):
        first = raw[part.start()]
        if first in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in b"]}":
            depth -= 1
    return deepest
