"""What stands on the command line, as values: lists of numbers and names, paths, what was given at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import typer

from protoleak.errors import ProtoleakError


def typed(context: typer.Context, **values: object) -> dict[str, object]:
    """Those of the values whose option stands on the command line: they go before a settings file.

    Args:
        values: by the names that the command's parameters have.
    """
    return {name: value for name, value in values.items() if is_typed(context, name)}


def is_typed(context: typer.Context, parameter: str) -> bool:
    """Whether the option of this parameter stands on the command line."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


def joined(values: Iterable[object]) -> str:
    """A list as it is typed: a,b,c."""
    return ",".join(map(str, values))


def numbers(text: str, option: str) -> tuple[float, ...]:
    """Comma-separated numbers, as typed for `option`.

    Raises:
        ProtoleakError: something else is among them.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ProtoleakError(f"{option} {text!r}: give numbers with commas between, such as 0,1") from None


def integers(text: str, option: str) -> tuple[int, ...]:
    """Comma-separated whole numbers, as typed for `option`.

    Raises:
        ProtoleakError: something else is among them.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ProtoleakError(f"{option} {text!r}: give whole numbers with commas between, such as 0,100,300") from None


def input_range(text: str) -> tuple[float, float]:
    """Two numbers, black and white."""
    values = numbers(text, "--input-range")
    if len(values) != 2:
        raise ProtoleakError(f"--input-range {text!r}: give two numbers, such as 0,1 or -1,1")
    return values[0], values[1]


def names(text: str, option: str) -> tuple[str, ...]:
    """Comma-separated names, as typed for `option`."""
    found = [part.strip() for part in text.split(",")]
    if not all(found):
        raise ProtoleakError(f"{option} {text!r}: give names with commas between and none empty")
    return tuple(found)


def distinct(text: str, option: str) -> tuple[str, ...]:
    """As `names`, each once."""
    return tuple(dict.fromkeys(names(text, option)))


def existing(path: Path | None, option: str) -> Path | None:
    """The path itself. Raises ProtoleakError where nothing is there."""
    if path is not None and not os.path.exists(path):  # noqa: PTH110  # Path.exists raises for names that are too long
        raise ProtoleakError(f"{option} {path}: there is nothing at that path")
    return path
