"""JSON as it is read from strangers, where whatever is wrong is one kind of error, and as it is written to files."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from protoleak.errors import shortened

T = TypeVar("T")


def decode_json(raw: bytes, kind: type[T]) -> T:
    """The content as a value of the type asked for.

    Raises:
        msgspec.DecodeError: it isn't JSON, not of that type, not UTF-8, or nested more deeply than can be read. Its
            message is one short printable line, whatever the file holds.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
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
