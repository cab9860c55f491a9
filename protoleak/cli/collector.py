"""Python's cyclic garbage collector, which rests while a command starts.

What imports and the check of a bundle make lives as long as the process, and is no garbage; the collector would walk
over it dozens of times.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def resting_collector() -> Iterator[None]:
    """No collection inside; afterwards none of what is there by then is looked at again."""
    rested = not gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not rested:
            wake_collector()


def wake_collector() -> None:
    """Collects from now on, and looks at nothing that is there by now."""
    gc.freeze()
    gc.enable()
