"""What work reported of its progress."""

from __future__ import annotations

from typing import NamedTuple


class Call(NamedTuple):
    """One call of a `Progress`."""

    stage: str
    done: int
    total: int
    note: str


class RecordedProgress(list[Call]):
    """A `Progress` that keeps every call."""

    def __call__(self, stage: str, done: int, total: int, note: str = "", /) -> None:
        self.append(Call(stage, done, total, note))

    @property
    def stages(self) -> list[str]:
        """The stages in the order of their first calls."""
        return list(dict.fromkeys(call.stage for call in self))
