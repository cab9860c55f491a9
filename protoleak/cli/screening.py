"""What screening images and screening videos have in common: the screener, and how things are printed."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.markup import escape

from protoleak.cli.build_bar import build_bar
from protoleak.cli.screen_options import ScreenOptions
from protoleak.errors import ProtoleakError
from protoleak.runtime.engines import EngineOptions
from protoleak.screener import Screener

WIDTH_WITHOUT_TERMINAL = 120


def open_screener(options: ScreenOptions, errors: Console) -> Screener:
    """The screener that the options ask for; what its engine has to say goes to `errors`.

    Raises:
        ProtoleakError: the bundle, the engine or alpha is not usable.
    """
    if options.precision not in ("variant", "bf16"):
        raise ProtoleakError(f"--precision {options.precision}: choose variant or bf16")
    with build_bar("the plans of this bundle") as progress:
        return Screener(
            options.bundle,
            alpha=options.alpha,
            variant=options.variant,
            engine=options.engine,
            threads=options.threads,
            engine_options=EngineOptions(
                precision=options.precision,  # type: ignore[arg-type]  # checked above
                device=options.device,
                notify=lambda message: print_note(errors, message),
                progress=progress,
            ),
        )


def error_console() -> Console:
    """Standard error, a line per message whatever its length."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def output_console() -> Console:
    """Standard output."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH_WITHOUT_TERMINAL
    return Console(width=width, highlight=False)


def print_note(console: Console, message: str) -> None:
    console.print(f"[dim]note:[/dim] {escape(message)}")


def print_error(console: Console, message: str) -> None:
    console.print(f"[red]error:[/red] {escape(message)}")
