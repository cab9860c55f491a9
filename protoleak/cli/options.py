"""Options that several commands share, and how lists of numbers are typed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Optional

import typer

from protoleak.errors import ProtoleakError

INTERRUPTED = 130
LATENT_ENCODER_HELP = (
    "A directory or hub id of a diffusers AutoencoderKL or AutoencoderTiny, one that `protoleak distill` wrote, "
    "or any ONNX file that maps an image to a latent."
)
LatentEncoderOption = Annotated[str, typer.Option("--latent-encoder", help=LATENT_ENCODER_HELP)]
InputRangeOption = Annotated[
    str, typer.Option("--input-range", help="What black and white are to an ONNX latent encoder, such as -1,1.")
]
ScalingOption = Annotated[float, typer.Option("--scaling", help="Factor on the latent of an ONNX latent encoder.")]
ImageSizeOption = Annotated[int, typer.Option("--image-size", help="Side of the images that the encoder sees.")]
EngineOption = Annotated[
    str, typer.Option("--engine", help="One that `protoleak engines` lists, or auto for the best that can run here.")
]
ThreadsOption = Annotated[
    Optional[int],  # noqa: UP045 Typer evaluates this on Python 3.10 too
    typer.Option("--threads", min=1, help="Processor threads; left out, all cores."),
]
DeviceOption = Annotated[int, typer.Option("--device", min=0, help="CUDA device ordinal.")]
WorkersOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--workers", min=0, help="Processes that prepare images; 0 for threads; left out, one per core up to 8."
    ),
]


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


def names(text: str, option: str) -> list[str]:
    """Comma-separated names, as typed for `option`."""
    found = [part.strip() for part in text.split(",")]
    if not all(found):
        raise ProtoleakError(f"{option} {text!r}: give names with commas between and none empty")
    return found


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
        raise typer.Exit(INTERRUPTED) from None


def existing(path: Path, option: str) -> Path:
    """The path itself. Raises ProtoleakError where nothing is there."""
    if not path.exists():
        raise ProtoleakError(f"{option} {path}: there is nothing at that path")
    return path
