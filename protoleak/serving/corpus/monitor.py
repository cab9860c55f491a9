"""Signs of life: what the workers do, how far they are, and which image ended one; and the watchdog that reads them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from protoleak.errors import DiskFull, ProtoleakError

ATTEMPTS_TOGETHER = 2  # of a block, before its images are judged one by one
ATTEMPTS_ALONE = 2  # of an image that its worker died of


@dataclass
class Signs:
    """What is known of the workers at one moment.

    Attributes:
        count: grows with every sign of life.
        finished: block → its inputs, of blocks whose part is written.
        partly: block → images of it that are judged, of blocks that are not finished.
        doing: worker → what it does, in words.
        failure: why the run cannot go on; None while it can.
        full: whether that is that the disk is full.
    """

    count: int = 0
    finished: dict[int, int] = field(default_factory=dict)
    partly: dict[int, int] = field(default_factory=dict)
    doing: dict[str, str] = field(default_factory=dict)
    failure: str | None = None
    full: bool = False


class Monitor:
    """Lives in a process of its own, so that workers never wait for whoever asks how far they are. Should it be killed,
    it begins anew with nothing: what counts is on the disk."""

    def __init__(self) -> None:
        self._signs = Signs()
        self._attempts: Counter[int] = Counter()
        self._alone: Counter[tuple[int, int]] = Counter()

    def sign(self, worker: str, doing: str) -> None:
        """A worker lives, and does this."""
        self._signs.count += 1
        self._signs.doing[worker] = doing

    def begin(self, worker: str, block: int) -> bool:
        """A worker begins a block; whether it is to judge one image at a time, since workers have died of the block."""
        self.sign(worker, f"block {block}")
        self._attempts[block] += 1
        return self._attempts[block] > ATTEMPTS_TOGETHER

    def alone(self, worker: str, block: int, index: int, source: str) -> bool:
        """A worker is about to judge one image by itself; whether it may, or too many have died of that image."""
        self.sign(worker, source)
        self._alone[block, index] += 1
        return self._alone[block, index] <= ATTEMPTS_ALONE

    def survived(self, block: int, index: int) -> None:
        """The image did no harm: what ended the worker was something else."""
        self._alone[block, index] = 0

    def judged(self, worker: str, block: int, images: int, doing: str) -> None:
        """How many images of a block are judged."""
        self.sign(worker, doing)
        self._signs.partly[block] = images

    def finished(self, block: int, inputs: int) -> None:
        """The part of a block is written."""
        self._signs.count += 1
        self._signs.finished[block] = inputs
        self._signs.partly.pop(block, None)
        self._attempts.pop(block, None)

    def failed(self, reason: str, full: bool) -> None:
        """The run cannot go on; `full`: because the disk is full."""
        if self._signs.failure is None:
            self._signs.failure, self._signs.full = reason, full

    def signs(self) -> Signs:
        """What is known now."""
        return self._signs


class Watchdog:
    """Ends a run in which nothing goes on.

    Args:
        patience: seconds without a sign of life that are borne.
        clock: seconds, for tests.
    """

    def __init__(self, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = patience
        self._clock = clock
        self._last = clock()
        self._seen: tuple[int, int] = (0, 0)
        self._doing: dict[str, str] = {}

    def look(self, signs: Signs | None, finished: int, resources: Callable[[], str]) -> None:
        """
        Args:
            signs: None where the monitor did not answer.
            finished: blocks that are finished.
            resources: says what the cluster has, and what of it is free.

        Raises:
            ProtoleakError: a worker says that the run cannot go on, or nothing has gone on for too long.
        """
        if signs is not None:
            if signs.failure is not None:
                raise (DiskFull if signs.full else ProtoleakError)(signs.failure)
            self._doing = signs.doing
        seen = (signs.count if signs is not None else self._seen[0], finished)
        if seen != self._seen:
            self._seen, self._last = seen, self._clock()
        elif self._clock() - self._last > self._patience:
            raise ProtoleakError(f"no progress for {self._patience:g} s: {self._reason(resources())}")

    def _reason(self, resources: str) -> str:
        goes_on = "what is written is valid, --resume continues"
        if not self._doing:
            return (
                f"no worker has started; {resources}: give fewer --workers, end what else runs there, or give more "
                f"time with --patience; {goes_on}"
            )
        last = "; ".join(f"{worker} was at {doing}" for worker, doing in sorted(self._doing.items())[:4])
        return f"{last}; {resources}: look at these inputs, or give more time with --patience; {goes_on}"
