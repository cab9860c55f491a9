"""The bar that shows the building of a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def build_bar(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error for the builder's phases, from the first on, where a person can see it.

    Yields what `EngineOptions.progress` takes.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    from protoleak.runtime.engines.base import no_progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield no_progress
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True)
    task: TaskID | None = None

    def show(phase: str, done: int, total: int) -> None:
        nonlocal task
        if task is None:
            bar.start()
            task = bar.add_task("")
        bar.update(task, description=f"building {title}: {phase}", completed=done, total=total or None)

    try:
        yield show
    finally:
        bar.stop()
