"""The command line. Every heavy import is inside the command that needs it; what a command does is in `commands/`."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, Optional

import typer

from protoleak.commands.bench import bench
from protoleak.commands.build import build
from protoleak.commands.distill import distill
from protoleak.commands.engines import engines
from protoleak.commands.evaluate import evaluate
from protoleak.commands.export import export
from protoleak.commands.import_checkpoint import import_checkpoint
from protoleak.commands.train import train
from protoleak.errors import ProtoleakError

app = typer.Typer(
    name="protoleak",
    help="Tells which generative model made a face image, and says so when it knows none.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

NOTHING_DONE = 2
BundleOption = Annotated[
    Optional[str],  # noqa: UP045 Typer evaluates this on Python 3.10 too
    typer.Option("--bundle", help="Bundle directory or .zip; left out, the one that comes with protoleak."),
]
AlphaOption = Annotated[
    float, typer.Option("--alpha", help="Significance level: share of known images that may be called unknown.")
]


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options of every command; --debug may stand anywhere, `main` takes it out."""


@app.command()
def screen(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE…", help="Images, folders, globs, or - for paths on standard input.")
    ],
    bundle: BundleOption = None,
    out: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--out", help="FILE.jsonl or FILE.csv, written line by line; - for JSON Lines on standard output."
        ),
    ] = None,
    alpha: AlphaOption = 0.05,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an existing --out file.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing --out file.")] = False,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images that go through together.")] = 8,
    engine: Annotated[
        str,
        typer.Option("--engine", help="One that `protoleak engines` lists, or auto for the best that can run here."),
    ] = "auto",
    variant: Annotated[
        str, typer.Option("--variant", help="A precision of the bundle, or auto for the fastest, as measured.")
    ] = "auto",
    precision: Annotated[
        str,
        typer.Option("--precision", help="bf16 lets OpenVINO compute in bfloat16; variant keeps the graph's types."),
    ] = "variant",
    device: Annotated[int, typer.Option("--device", min=0, help="CUDA device ordinal.")] = 0,
    threads: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--threads", min=1, help="Processor threads; left out, all cores."),
    ] = None,
) -> None:
    """Say of each image who made it: a known generator, a camera (real), or nobody that the bundle knows."""
    from protoleak.commands.screen import ScreenOptions, run

    options = ScreenOptions(
        sources=sources,
        bundle=bundle,
        out=out,
        alpha=alpha,
        resume=resume,
        overwrite=overwrite,
        batch_size=batch_size,
        engine=engine,
        variant=variant,
        threads=threads,
        precision=precision,
        device=device,
    )
    raise typer.Exit(run(options))


@app.command()
def inspect(
    bundle: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(help="Bundle directory or .zip; left out, the one that comes with protoleak."),
    ] = None,
    alpha: AlphaOption = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show what a bundle is, how it was made and what was measured of it. Checks every hash."""
    from protoleak.commands.inspect import run

    raise typer.Exit(run(bundle, alpha, as_json))


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
