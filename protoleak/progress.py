"""How long work shows that it is alive: on a terminal a bar, elsewhere lines for a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from protoleak.text import harmless

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar

SECONDS_BETWEEN_LINES = 60.0


class Progress(Protocol):
    """What long work calls as it goes on, from any thread."""

    def __call__(self, stage: str, done: int, total: int, note: str = "", /) -> None:
        """
        Args:
            stage: what is being done, such as "encode train" or "epoch 3 of 40".
            done, total: steps of this stage; a total of 0 where nobody knows how many there are.
            note: what was measured so far, such as the loss.
        """


def no_progress(stage: str, done: int, total: int, note: str = "", /) -> None:
    """Shows nothing."""


@contextmanager
def shown_progress(
    console: Console | None = None, *, stage_lines: bool = True, interval: float = SECONDS_BETWEEN_LINES
) -> Iterator[Progress]:
    """Shows progress on standard error: `with shown_progress() as progress`.

    On a terminal there is a bar for the stage that is going on, elsewhere a line a minute, so that a log shows life.
    Both leave a line for every stage that has ended.

    Args:
        console: in place of standard error.
        stage_lines: False for no lines of stages that have ended, where the command itself says what it did.
        interval: seconds between two lines of a stage that goes on.
    """
    display = _Display(console, stage_lines, interval)
    try:
        yield display
        display.end_stage()
    finally:
        display.stop()


class _Stage:
    """Where one stage stands."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.done, self.total, self.note = 0, 0, ""
        self.started = time.monotonic()

    @property
    def has_ended(self) -> bool:
        return 0 < self.total <= self.done

    def line(self) -> str:
        steps = f"{self.done}/{self.total}" if self.total > 1 else str(self.done) if self.done > 1 else ""
        seconds = f"{time.monotonic() - self.started:.0f} s"
        return f"{harmless(self.name)}: {', '.join(part for part in (steps, self.note, seconds) if part)}"


class _Display:
    """A `Progress` that is shown: by a bar on a terminal, by lines of a thread elsewhere. Both begin with the first
    call: a bar without a task would leave an empty line, before an error message for instance; and most commands end
    before there is anything to show."""

    def __init__(self, console: Console | None, stage_lines: bool, interval: float) -> None:
        self._console = console
        self._bar: Bar | None = None
        self._stage_lines = stage_lines
        self._interval = interval
        self._stage: _Stage | None = None
        self._last_ended = ""
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._ticker: threading.Thread | None = None

    def __call__(self, stage: str, done: int, total: int, note: str = "", /) -> None:
        with self._lock:
            if self._stage is None and stage == self._last_ended and done >= total > 0:
                return  # it says once more that it has ended
            if self._stage is None or self._stage.name != stage:
                self.end_stage()
                self._begin(stage)
            current = self._stage
            assert current is not None
            current.done, current.total, current.note = done, total, harmless(note)
            if self._bar is not None:
                self._bar.update(self._bar.task_ids[0], completed=done, total=total or None, note=current.note)
            if current.has_ended:
                self.end_stage()

    def _begin(self, stage: str) -> None:
        self._stage = _Stage(stage)
        if self._bar is None and self._shown_on.is_terminal:
            self._bar = _bar(self._shown_on)
        if self._bar is not None:
            self._bar.add_task(harmless(stage), total=None, note="")
            self._bar.start()
        elif self._ticker is None:
            self._ticker = threading.Thread(target=self._tick, name="protoleak-progress", daemon=True)
            self._ticker.start()

    def _tick(self) -> None:
        while not self._stopping.wait(self._interval):
            with self._lock:
                if self._stage is not None and time.monotonic() - self._stage.started >= self._interval / 2:
                    self._print(self._stage)

    def end_stage(self) -> None:
        """A line for the stage that was going on."""
        with self._lock:
            if self._stage is None:
                return
            if self._bar is not None:
                self._bar.remove_task(self._bar.task_ids[0])
            if self._stage_lines:
                self._print(self._stage)
            self._last_ended, self._stage = self._stage.name, None

    def _print(self, stage: _Stage) -> None:
        self._shown_on.print(stage.line(), markup=False)

    @property
    def _shown_on(self) -> Console:
        if self._console is None:
            from rich.console import Console

            self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        return self._console

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._stopping.set()
        # An interruption may come while the thread is being started, and one that hasn't begun cannot be waited for.
        if self._ticker is not None and self._ticker.is_alive():
            self._ticker.join()


def _bar(console: Console) -> Bar:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    return Bar(*columns, console=console, transient=True)
