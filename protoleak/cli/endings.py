"""How commands end that cannot be finished: Ctrl-C, and optional packages that are not installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from protoleak.cli.exit_status import ExitStatus


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turns the absence of an optional package into an error that names what to install. Decorates a command, since
    some packages are imported only where they are used."""
    from protoleak.errors import MissingExtra

    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "protoleak":
            raise
        raise MissingExtra(str(error.name), extra) from None


@contextmanager
def interruptible(what_now: str) -> Iterator[None]:
    """Decorates a command: Ctrl-C ends it with one line and the status that shells give an interrupted program."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"interrupted: {what_now}", file=sys.stderr)
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
