"""The command line. Every heavy import is inside the command that needs it; what a command does is in `commands/`."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from protoleak.cli.bench import bench
from protoleak.cli.build import build
from protoleak.cli.distill import distill
from protoleak.cli.engines import engines
from protoleak.cli.evaluate import evaluate
from protoleak.cli.export import export
from protoleak.cli.import_checkpoint import import_checkpoint
from protoleak.cli.inspect_command import inspect
from protoleak.cli.screen import screen
from protoleak.cli.train import train
from protoleak.errors import ProtoleakError

app = typer.Typer(
    name="protoleak",
    help="Tells which generative model made a face image, and says so when it knows none.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

NOTHING_DONE = 2


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options of every command; --debug may stand anywhere, `main` takes it out."""


app.command("screen")(screen)
app.command("inspect")(inspect)
app.command("train")(train)
app.command("import")(import_checkpoint)
app.command("distill")(distill)
app.command("export")(export)
app.command("engines")(engines)
app.command("build")(build)
app.command("bench")(bench)
app.command("evaluate")(evaluate)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns the exit status: 0 all well, 1 some inputs failed, 2 nothing could be done.

    An error that protoleak raises on purpose is one line on standard error; with --debug it keeps its traceback.
    """
    given = sys.argv[1:] if arguments is None else arguments
    end = given.index("--") if "--" in given else len(given)
    debug = "--debug" in given[:end]
    kept = [item for item in given[:end] if item != "--debug"] + given[end:]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # a file name that the terminal cannot show is no reason to fail
    try:
        app(args=kept, prog_name="protoleak")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else NOTHING_DONE
    except ProtoleakError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return NOTHING_DONE
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone: nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOTHING_DONE
    return 0


if __name__ == "__main__":
    sys.exit(main())
