"""Progress of training as plain values, and a bar that shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        stage: what is being done, such as "train" or "encode train".
        done, total: steps.
        loss: mean training loss of the epoch so far.
        validation_macro_auc: after the epoch before, once there is one.
    """

    stage: str
    done: int
    total: int
    loss: float | None = None
    validation_macro_auc: float | None = None


@contextmanager
def progress_bar(hidden: bool = False) -> Iterator[Callable[[Progress], None]]:
    """A bar per stage on standard error, with loss and validation AUC beside it: `with progress_bar() as progress`."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[measured]}"),
    )
    bar = Bar(*columns, console=Console(stderr=True), disable=hidden)
    tasks: dict[str, TaskID] = {}

    def show(progress: Progress) -> None:
        if not tasks:
            bar.start()  # not before: a bar without a task leaves an empty line, before an error message for instance
        if progress.stage not in tasks:
            tasks[progress.stage] = bar.add_task(progress.stage, total=progress.total, measured="")
        measured = []
        if progress.loss is not None:
            measured.append(f"loss {progress.loss:.3f}")
        if progress.validation_macro_auc is not None:
            measured.append(f"validation AUC {progress.validation_macro_auc:.4f}")
        bar.update(tasks[progress.stage], completed=progress.done, total=progress.total, measured="  ".join(measured))

    try:
        yield show
    finally:
        if tasks:
            bar.stop()
