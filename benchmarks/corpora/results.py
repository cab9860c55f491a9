"""What the benchmark of corpora measures, as it is printed and written."""

from __future__ import annotations

import msgspec


class Run(msgspec.Struct, kw_only=True):
    """One kind of run.

    Attributes:
        images: whole ones; six broken ones come to them.
        starts: of the command.
        kills: that hit.
        rows, distinct: at the end.
        missing, extra: rows compared with the run that nobody killed.
        redone: parts that were there before a kill and were written again.
        seconds: all of it.
    """

    kind: str
    images: int
    starts: int
    kills: int
    rows: int
    distinct: int
    missing: int
    extra: int
    redone: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.kind}: {self.images} images, {self.starts} starts, {self.kills} kills, {self.rows} rows, "
            f"{self.distinct} distinct, {self.missing} missing, {self.extra} extra, {self.redone} finished parts done "
            f"again, {self.seconds:.0f} s"
        )


class Memory(msgspec.Struct, kw_only=True):
    """Megabytes at the peak.

    Attributes:
        listed: paths.
        judged: of them, until the run was stopped.
        command, together: of the command alone, and with all processes of Ray.
    """

    listed: int
    judged: int
    command_mb: float
    together_mb: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"memory: {self.listed} paths listed, {self.judged} judged in {self.seconds:.0f} s; command "
            f"{self.command_mb:.0f} MB, with all of Ray's processes {self.together_mb:.0f} MB"
        )


class Result(msgspec.Struct, kw_only=True):
    """All of it, as it is written."""

    protoleak: str
    processors: int
    workers: int
    runs: dict[str, Run]
    memory: Memory | None = None
