"""What the benchmark of corpora measures, as it is printed and written."""

from __future__ import annotations

import os

import msgspec

from protoleak.environment.machine import Machine


class Run(msgspec.Struct, kw_only=True):
    """One kind of run.

    Attributes:
        images: whole ones; six broken ones come to them.
        starts: of the command.
        kills: that hit.
        parts_at_kills: finished parts at each of them, of so many as the corpus has blocks.
        rows, distinct: at the end.
        missing, extra: rows compared with the run that nobody killed.
        redone: parts that were there before a kill and were written again.
        seconds: all of it.
        load_average: over the minute before it ended.
    """

    kind: str
    images: int
    starts: int
    kills: int
    parts_at_kills: list[int]
    rows: int
    distinct: int
    missing: int
    extra: int
    redone: int
    seconds: float
    load_average: float = msgspec.field(default_factory=lambda: os.getloadavg()[0])

    def __str__(self) -> str:
        return (
            f"{self.kind}: {self.images} images, {self.starts} starts, {self.kills} kills (at {self.parts_at_kills} "
            f"finished parts), {self.rows} rows, "
            f"{self.distinct} distinct, {self.missing} missing, {self.extra} extra, {self.redone} finished parts done "
            f"again, {self.seconds:.0f} s, load {self.load_average:.1f}"
        )


class Memory(msgspec.Struct, kw_only=True):
    """Megabytes at the peak.

    Attributes:
        listed: paths.
        judged: of them, until the run was stopped.
        command_mb, together_mb: of the command alone, and with all processes of Ray.
    """

    listed: int
    judged: int
    command_mb: float
    together_mb: float
    seconds: float
    load_average: float = msgspec.field(default_factory=lambda: os.getloadavg()[0])

    def __str__(self) -> str:
        return (
            f"memory: {self.listed} paths listed, {self.judged} judged in {self.seconds:.0f} s; command "
            f"{self.command_mb:.0f} MB, with all of Ray's processes {self.together_mb:.0f} MB"
        )


class Result(msgspec.Struct, kw_only=True):
    """All of it, as it is written.

    Attributes:
        patience: seconds without progress after which a run is given up.
    """

    machine: Machine
    processors: int
    workers: int
    patience: float
    runs: dict[str, Run]
    memory: Memory | None = None
