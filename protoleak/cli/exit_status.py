"""What the commands exit with."""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum


class ExitStatus(IntEnum):
    """0 all well, 1 some inputs or parts failed and the others are done, 2 nothing could be done, 130 Ctrl-C,
    143 SIGTERM."""

    ALL_WELL = 0
    SOME_FAILED = 1
    NOTHING_DONE = 2
    INTERRUPTED = 130
    TERMINATED = 143


def status_of_parts(failed: int, of: int, problems: bool = False) -> ExitStatus:
    """Of work with so many parts that failed out of all; `problems` are smaller ones."""
    if failed and failed == of:
        return ExitStatus.NOTHING_DONE
    return ExitStatus.SOME_FAILED if failed or problems else ExitStatus.ALL_WELL


def status_of_all(statuses: Collection[ExitStatus]) -> ExitStatus:
    """Of several pieces of work that were done one after the other."""
    if ExitStatus.INTERRUPTED in statuses:
        return ExitStatus.INTERRUPTED
    same = set(statuses)
    return same.pop() if len(same) == 1 else ExitStatus.SOME_FAILED
