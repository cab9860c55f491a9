"""The commands by name, without importing any: each lies in the file of its name, as the function of that name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

USING, MAKING, MEASURING = "Screen images and videos", "Make a bundle", "Measure a bundle"
ADDING = "Change a bundle on the device"

# Command → the panel of --help that it stands in, in the order of --help.
COMMANDS = {
    "screen": USING,
    "corpus": USING,
    "serve": USING,
    "engines": USING,
    "build-plans": USING,
    "triton": USING,
    "discover": ADDING,
    "enrol": ADDING,
    "recalibrate": ADDING,
    "train": MAKING,
    "export": MAKING,
    "distill": MAKING,
    "sign": MAKING,
    "import-checkpoint": MAKING,
    "inspect": MEASURING,
    "evaluate": MEASURING,
    "bench": MEASURING,
}


def module_of(command: str) -> str:
    """The name of the module that a command lies in."""
    return f"protoleak.cli.{command.replace('-', '_')}"


def function_of(command: str) -> Callable[..., None]:
    """What a command runs; its module is imported."""
    function: Callable[..., None] = getattr(import_module(module_of(command)), command.replace("-", "_"))
    return function
