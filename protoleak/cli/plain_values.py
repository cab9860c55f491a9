"""Commands that take plain values without a validator, and name the option of a setting that cannot be.

Newer versions of Typer make a validator of pydantic for every parameter of a command, whether it was given or not, and
importing pydantic takes as long as importing NumPy. What is of a parameter's type already (a default, a plain word, one
of the choices) would come out of its validator as it went in; everything else goes there as before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, get_args, get_origin

from typer.core import TyperCommand, TyperGroup

from protoleak.cli.short_process import wake_collector
from protoleak.cli.typed_values import is_typed
from protoleak.errors import ProtoleakError, SettingError

PLAIN = (str, int, float)


class PlainCommand(TyperCommand):
    """A command whose plain values are not validated, and before which the collector rests."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command. A setting that cannot be as it is goes by the option that it was typed with.

        Raises:
            ProtoleakError: the command does.
        """
        wake_collector()
        try:
            return super().invoke(ctx)
        except SettingError as error:
            for parameter in self.params:
                if parameter.name == error.setting and is_typed(ctx, parameter.name):
                    raise ProtoleakError(f"{parameter.opts[0]} {error.problem}") from error
            raise

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, `--help` among them."""
        return _spared(super().get_params(ctx))


class PlainGroup(TyperGroup):
    """A group of commands whose own plain values are not validated."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, `--help` among them."""
        return _spared(super().get_params(ctx))


def _spared(parameters: list[Any]) -> list[Any]:
    """The parameters, which hand on what is plain. Those of versions of Typer that convert without pydantic are left
    alone."""
    for parameter in parameters:
        if getattr(parameter, "type_descriptor", None) is not None and not isinstance(parameter.process_value, partial):
            parameter.process_value = partial(_processed, parameter, parameter.process_value)
    return parameters


def _processed(parameter: Any, validated: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:
    """What a parameter makes of its value: `validated` is Typer's own way."""
    annotation = parameter.type_descriptor.annotation
    if parameter.type_descriptor.parameter_info.parser is not None or not _is_plain(annotation, parameter, value):
        return validated(context, value)
    value = list(value) if isinstance(value, tuple) else value
    return value if parameter.callback is None else parameter.callback(context, parameter, value)


def _is_plain(annotation: Any, parameter: Any, value: Any) -> bool:
    if parameter.multiple or parameter.nargs != 1:
        return annotation == list[str] and isinstance(value, tuple) and bool(value) and _all_words(value)
    if value is None:
        return not parameter.required
    if get_origin(annotation) is Literal:
        return value in get_args(annotation)
    return annotation in PLAIN and type(value) is annotation


def _all_words(values: tuple[Any, ...]) -> bool:
    return all(type(value) is str for value in values)
