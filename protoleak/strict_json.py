"""JSON from strangers: whatever is wrong with it is one kind of error, in one line."""

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
