"""A record as one line of JSON or one row of a CSV file, harmless to terminals and spreadsheets."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec

# With these a spreadsheet begins a formula, in any of the widths that they are typed in; the first one is our own mark.
FORMULA = ("'", "=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
Row = dict[str, "str | int | float | None"]


def json_line(line: dict[str, Any]) -> str:
    """One line of JSON without a character that a terminal would obey or hide, such as C1 controls and marks of
    direction; JSON has an escape for each."""
    text = msgspec.json.encode(line).decode()
    if not text.isprintable():
        text = "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)
    return text + "\n"


def cell(value: str | int | float | None) -> str | int | float | None:
    """A CSV cell on one line, which no spreadsheet takes for a formula: such a text gets an apostrophe before it."""
    if not isinstance(value, str):
        return value
    line = "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in " ".join(value.splitlines()))
    return f"'{line}" if value.startswith(FORMULA) else line


def flattened(line: dict[str, Any]) -> Row:
    """A record as one row: nested names joined by dots, lists as JSON."""
    row: Row = {}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{prefix}.{key}" if prefix else key, inner)
        else:
            row[prefix] = json.dumps(value) if isinstance(value, (list, tuple)) else value

    add("", line)
    return row


def nested(named: dict[str, str | None], prefix: str) -> dict[str, Any]:
    """What `flattened` made columns of: the values whose columns begin with a prefix."""
    found: dict[str, Any] = {}
    for column, value in named.items():
        if column.startswith(prefix):
            *outer, name = column.removeprefix(prefix).split(".")
            place = found
            for part in outer:
                place = place.setdefault(part, {})
            place[name] = value
    return found


def setting(text: str | None) -> str | int | float | None:
    """A setting as it was before it became a cell."""
    if text is None:
        return None
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text
