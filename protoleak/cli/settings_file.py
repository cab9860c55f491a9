"""Settings in a TOML file: read for a settings type, and written with comments from its docstring."""

from __future__ import annotations

import difflib
import inspect
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from protoleak.errors import ProtoleakError

NOTHING = "none"  # TOML has no null
COMMENT_WIDTH = 118
ATTRIBUTE = re.compile(r"^    (\w+(?:, \w+)*): (.*)$")

Settings = TypeVar("Settings", bound=msgspec.Struct)


def read_settings(file: Path, kind: type[Settings]) -> Settings:
    """The settings of a TOML file whose keys are fields of `kind`; what it leaves out has its default.

    Raises:
        ProtoleakError: it cannot be read, is no TOML, or has an unknown key or a value that cannot be. One line that
            names file and key.
    """
    try:
        table = _toml(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProtoleakError(f"--settings {file}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise ProtoleakError(f"--settings {file}: not TOML: {error}") from error
    try:
        return msgspec.convert(_with_nothing(table), kind, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise ProtoleakError(f"--settings {file}: {_in_words(str(error), kind)}") from error
    except ProtoleakError as error:  # what the type itself checks
        raise ProtoleakError(f"--settings {file}: {error}") from error


def _toml(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):  # where it is used: most commands read no settings
        import tomllib
    else:
        import tomli as tomllib
    table: dict[str, Any] = tomllib.loads(text)
    return table


def settings_text(kind: type[msgspec.Struct], command: str) -> str:
    """A TOML file with every setting of `kind` at its default, each with what it means."""
    head = (
        f"# Settings of `protoleak {command}`, at their defaults: change some, leave out others, and give the file",
        f'# with --settings. Options of the command line override it. "{NOTHING}" stands for nothing.',
    )
    return "\n".join([*head, *_table(kind, kind(), ())]) + "\n"


def _with_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nothing(inner) for key, inner in value.items()}
    return None if value == NOTHING else value


def _path(kind: type, value: object) -> object:
    """msgspec has no paths of its own."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise ValueError(f"Expected a path in quotes, got {value!r}")


def _in_words(problem: str, kind: type[msgspec.Struct]) -> str:
    """A message of msgspec, such as "Expected `int`, got `str` - at `$.limits.auc_drop`", with the key in front."""
    what, _, place = problem.partition(" - at `$.")
    keys = place.rstrip("`").split(".") if place else []
    fields: dict[str, Any] = _fields(kind)
    for key in keys[:-1]:
        fields = _fields(fields[key])
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", what):
        if keys:
            fields = _fields(fields[keys[-1]])
        near = difflib.get_close_matches(unknown[1], fields, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose among {', '.join(fields)}"
        return f"there is no setting {'.'.join([*keys, unknown[1]])}: {hint}"
    choices = _choices(fields[keys[-1].split("[")[0]]) if keys else ()
    if choices:
        what += f", choose one of {', '.join(choices)}"
    return f"{'.'.join(keys)}: {what}" if keys else what


def _fields(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _choices(annotation: Any) -> tuple[str, ...]:
    """What a Literal, or a tuple of them, allows."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((found for part in get_args(annotation) if (found := _choices(part))), ())


def _table(kind: type[msgspec.Struct], defaults: msgspec.Struct, place: tuple[str, ...]) -> list[str]:
    """The lines of a table. Tables within it come last: what follows one would belong to it."""
    lines = ["", f"[{'.'.join(place)}]"] if place else []
    inner: list[str] = []
    meanings, hints = _meanings(kind), _fields(kind)
    for name in kind.__struct_fields__:
        value = getattr(defaults, name)
        meaning = meanings[name]
        comment = textwrap.wrap(meaning[0].upper() + meaning[1:], COMMENT_WIDTH)
        if isinstance(value, msgspec.Struct):
            inner += ["", *(f"# {line}" for line in comment), *_table(type(value), value, (*place, name))[1:]]
            continue
        if choices := _choices(hints[name]):
            comment.append(f"One of {', '.join(choices)}." if isinstance(value, str) else f"Of {', '.join(choices)}.")
        lines += ["", *(f"# {line}" for line in comment), f"{name} = {_written(value)}"]
    return lines + inner


def _written(value: object) -> str:
    if value is None:
        return json.dumps(NOTHING)
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(_written(item) for item in value)}]"
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


def _meanings(kind: type) -> dict[str, str]:
    """Field → what the "Attributes:" of the docstring say of it, in one line."""
    found: dict[str, str] = {}
    names: list[str] = []
    _, _, attributes = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    for line in attributes.splitlines():
        if entry := ATTRIBUTE.match(line):
            names = entry[1].split(", ")
            found |= dict.fromkeys(names, entry[2])
        elif line.startswith("        "):
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found
