"""The command line: one command per file of this folder, imported when it is asked for. Every heavy import is inside
the command that needs it."""

from __future__ import annotations

import atexit
import contextlib
import errno
import io
import os
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from protoleak.cli.commands import COMMANDS, function_of
from protoleak.cli.console import say, without_long_inputs
from protoleak.cli.exit_status import ExitStatus
from protoleak.cli.plain_values import PlainCommand, PlainGroup
from protoleak.cli.short_process import begin_short_process
from protoleak.cli.signals import Signals, watch_signals
from protoleak.errors import DiskFull, ProtoleakError
from protoleak.files import NO_ROOM
from protoleak.version import __version__

# Of click, or of the copy of it that newer versions of Typer have inside.
UsageError: Any = typer.BadParameter.__bases__[0]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"protoleak {__version__}")
        raise typer.Exit(ExitStatus.ALL_WELL)


def _common(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,  # noqa: ARG001
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command; --debug may stand anywhere, `main` takes it out."""
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(ExitStatus.NOTHING_DONE)


@cache
def application(command: str | None = None) -> typer.Typer:
    """The command line: all of it, or what is needed to run one command, since Typer looks at every option of every
    command that it knows of before it runs one.

    Args:
        command: a key of COMMANDS.
    """
    app = typer.Typer(
        name="protoleak",
        cls=PlainGroup,
        help="Tells which generative model made a face image, and says so when it knows none.",
        pretty_exceptions_enable=False,
    )
    app.callback(invoke_without_command=True)(_common)
    for name, panel in COMMANDS.items():
        if command in (None, name):
            app.command(name, cls=PlainCommand, rich_help_panel=panel)(function_of(name))
    return app


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns the exit status, see `ExitStatus`.

    An error that protoleak raises on purpose is one line on standard error, and so is a misspelt option; with --debug
    an error keeps its traceback.

    Args:
        arguments: as typed after the program's name. None for those of this process, which is to end with the command:
            then SIGTERM and Ctrl-C end it in good order, see `watch_signals`; else signals are the caller's own.
    """
    typed = sys.argv[1:] if arguments is None else arguments
    signals = watch_signals() if arguments is None else Signals()
    end = typed.index("--") if "--" in typed else len(typed)
    debug = "--debug" in typed[:end]
    kept = [item for item in typed[:end] if item != "--debug"] + typed[end:]
    if sys.stderr is None:  # closed by whoever started us: what is said there is lost, and no reason to fail
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 for as long as the process
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
        print("note: standard output is closed: what would be printed is lost, --out FILE keeps it", file=sys.stderr)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name that the terminal cannot show is no reason to fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app = application(kept[0]) if kept and kept[0] in COMMANDS else application()
        status = app(args=kept, prog_name="protoleak", standalone_mode=False)
        sys.stdout.flush()  # here, where an error can still be said
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else ExitStatus.NOTHING_DONE
    except (typer.Abort, KeyboardInterrupt):  # which of them, or none, depends on the version of Typer
        status = ExitStatus.INTERRUPTED
    except UsageError as error:
        command = error.ctx.command_path if error.ctx is not None else "protoleak"
        message = error.format_message().replace("Value error, ", "")  # of the library that Typer validates with
        message = _with_value(message, error, kept)
        _print_error(f"{message} ({command} --help says what there is)", kept)
        return ExitStatus.NOTHING_DONE
    except ProtoleakError as error:
        if debug:
            raise
        _print_error(str(error), kept)
        full = isinstance(error, DiskFull) or _is_full(error.__cause__)
        return ExitStatus.SOME_FAILED if full else ExitStatus.NOTHING_DONE
    except ImportError as error:  # of what everybody needs: what is optional says so itself
        if debug:
            raise
        what = " ".join(str(error).split())
        _print_error(f"{what}: the installation is incomplete or broken: pip install --force-reinstall protoleak", kept)
        return ExitStatus.NOTHING_DONE
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone: nobody is left to read a message
        _drop_output()
        return ExitStatus.NOTHING_DONE
    except OSError as error:
        if _is_full(error):  # from wherever something is written
            _drop_output()
            where = f"{error.filename}: " if error.filename else ""
            _print_error(f"{where}{error.strerror}: free some space; what was written before is valid", kept)
            return ExitStatus.SOME_FAILED
        if debug or error.errno != errno.ENAMETOOLONG:  # that one comes from wherever a path is looked at
            raise
        _print_error(f"{error.filename}: the name is too long for a file", kept)
        return ExitStatus.NOTHING_DONE
    if status == ExitStatus.INTERRUPTED:
        return signals.status
    return status if isinstance(status, int) else ExitStatus.ALL_WELL


def _with_value(message: str, error: UsageError, typed: list[str]) -> str:
    """A message about an option's value, with that value, which the library that Typer validates with leaves out."""
    names = tuple(getattr(getattr(error, "param", None), "opts", ()))
    for given, after in zip(typed, [*typed[1:], ""], strict=True):
        name, equals, value = given.partition("=")
        if name in names and message.startswith("Invalid value for "):
            value = value if equals else after
            return message if repr(value) in message else message.replace(": ", f": {value!r}: ", 1)
    return message


def _is_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in NO_ROOM


def _drop_output() -> None:
    """Python would try once more to write what standard output did not take, at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_error(message: str, typed: list[str]) -> None:
    from protoleak.video.sources.redaction import without_secrets

    for given in typed:  # click and our own checks repeat what was typed
        message = message.replace(given, without_secrets(given)) if "://" in given else message
    say(f"error: {without_long_inputs(message, typed)}", to_errors=True)


def run_process() -> None:
    """Runs the command line of this process, and ends it.

    Engines and the interpreter would free what they hold piece by piece, for a tenth of a second; the system does it at
    once. Whatever was registered to be done at the end is done. Where a debugger or a profiler watches, or a thread
    still works, the process ends as any other.
    """
    begin_short_process()
    status = main()
    working = [one for one in threading.enumerate() if one is not threading.current_thread() and not one.daemon]
    if working or sys.gettrace() is not None or sys.getprofile() is not None or sys.flags.inspect:
        sys.exit(status)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # whoever read it has gone, or it is closed
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    run_process()
