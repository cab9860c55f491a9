"""What is spared in a process that runs one command: collecting no garbage while it starts, and taking apart what it
made when it ends.

What imports and the check of a bundle make lives as long as the process; Python's cyclic collector would walk over it
dozens of times. Engines would free what they hold piece by piece; the system does that at once.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_kept: list[object] | None = None  # None: the process goes on after the command


def begin_short_process() -> None:
    """The process ends with its command: the collector rests until that runs, see `wake_collector`."""
    global _kept
    _kept = []
    gc.disable()


def keep_to_the_end(what: object) -> None:
    """Leaves it to the end of the process, where that comes with the command, to free something."""
    if _kept is not None:
        _kept.append(what)


@contextmanager
def resting_collector() -> Iterator[None]:
    """No collection inside, where the process ends with the command."""
    if _kept is not None:
        gc.disable()
    try:
        yield
    finally:
        wake_collector()


def wake_collector() -> None:
    """Collects from now on, and looks at nothing that is there by now, where the process ends with the command."""
    if _kept is not None:
        gc.freeze()
        gc.enable()
