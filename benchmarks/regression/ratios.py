"""From rounds to a ratio of times with an interval, and what it says."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec
import numpy as np

from benchmarks.regression.turns import TOTAL, Round

RESAMPLES = 2000
# All of n rounds lie on one side of the true median with probability 2^(1 - n): of five no interval holds 95 %.
LEAST_ROUNDS = 6
SEED = 17
INTERVAL = (2.5, 97.5)


class Ratio(msgspec.Struct, frozen=True):
    """How long head takes, in multiples of base: 1 is no change, 2 twice as long, 0.5 half as long.

    Attributes:
        low, high: 95 % interval of the ratio.
        rounds: that it comes from.
    """

    ratio: float
    low: float
    high: float
    rounds: int


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One part of one measure.

    Attributes:
        measure, part: such as "image openvino exact batch 1" and "latent_encoder".
        base_ms, head_ms: the least time of a turn, in milliseconds.
        change: None where there is no ratio.
        why: why it was not measured; None where it was.
        held: the limit holds for this row: of wholes, not of stages, whose borders a commit may move.
        broken: it could be measured on base and cannot on head.
    """

    measure: str
    part: str
    base_ms: float | None = None
    head_ms: float | None = None
    change: Ratio | None = None
    why: str | None = None
    held: bool = False
    broken: bool = False

    def slower_than(self, limit: float) -> bool:
        """Whether the whole interval lies beyond the limit, so that chance does not explain it."""
        return self.broken or (self.held and self.change is not None and self.change.low > limit)


def ratio_of(rounds: Sequence[Round], part: str) -> Ratio | None:
    """The median of the rounds' ratios, with a bootstrap interval; None where fewer than LEAST_ROUNDS have that part.

    Processes are drawn with replacement and then rounds within each, since rounds of one process share what is
    peculiar to it (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).
    """
    by_process: dict[int, list[float]] = {}
    for each in rounds:
        found = each.ratio(part)
        if found is not None:
            by_process.setdefault(each.process, []).append(found)
    groups = [np.array(values) for values in by_process.values()]
    values = np.concatenate(groups) if groups else np.zeros(0)
    if len(values) < LEAST_ROUNDS:
        return None
    random = np.random.Generator(np.random.Philox(SEED))
    resampled = np.empty(RESAMPLES)
    for index in range(RESAMPLES):
        chosen = random.integers(0, len(groups), len(groups))
        drawn = [groups[one][random.integers(0, len(groups[one]), len(groups[one]))] for one in chosen]
        resampled[index] = np.median(np.concatenate(drawn))
    low, high = np.percentile(resampled, INTERVAL)
    return Ratio(float(np.median(values)), float(low), float(high), len(values))


def rows_of(measure: str, rounds: Sequence[Round]) -> list[Row]:
    """The whole, and behind it its stages in the order in which they came."""
    turns = {side: [turn for each in rounds for turn in getattr(each, side)] for side in ("base", "head")}
    parts = list(dict.fromkeys(part for side in ("head", "base") for turn in turns[side] for part in turn))
    parts.sort(key=lambda part: part != TOTAL)
    rows = []
    for part in parts:
        least = {side: min((turn[part] for turn in of if part in turn), default=None) for side, of in turns.items()}
        change = ratio_of(rounds, part)
        rows.append(
            Row(
                measure=measure,
                part=part,
                base_ms=least["base"],
                head_ms=least["head"],
                change=change,
                why=None if change else "not in both commits",
                held=part == TOTAL,
            )
        )
    return rows


def overall(rows: Sequence[Row]) -> float | None:
    """The geometric mean of the measures' ratios; None without any."""
    ratios = [row.change.ratio for row in rows if row.held and row.change is not None]
    return statistics.geometric_mean(ratios) if ratios else None
