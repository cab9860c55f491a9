"""A conformal test martingale: evidence, readable at any time, that scores no longer come as those before them did.

Each score gets a smoothed conformal p-value among those before it and the reference, (b + θ·t)/n: of the n scores that
there are with it, b lie below it and t are equal to it, itself among them; θ is drawn from (0, 1). As long as
reference and stream are exchangeable, these p-values are independent and uniform, whatever the distribution and
however many ties there are (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005, Theorem 8.2).
Ranks among the reference alone would not do: they depend on each other through it, and a long stream would convict any
reference of being a sample.

Wealth that is bet on them and can't fall below nothing is a martingale then, and by Ville's inequality it ever grows
by a factor of c with probability at most 1/c: evidence of c:1 against exchangeability.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

STAKES = (-2.0, -1.0, 0.0, 1.0, 2.0)  # slopes of the bets: 1 + ε(p − 1/2), which must not be negative for p in [0, 1]
JUMP = 0.01  # share of the wealth that is spread anew over all bets at each p-value
CELLS = 2**16  # values of a float16


class SmoothedRanks:
    """Smoothed conformal p-values among a reference that grows by each score that is asked about.

    Scores are rounded to float16, which changes no promise, since rounding is the same for all: so what is kept is a
    count for each value that came, at most 65,536 of them, however long the stream.

    Args:
        reference: the scores to begin with.
    """

    def __init__(self, reference: Iterable[float]) -> None:
        cells = np.array([cell(score) for score in reference], dtype=np.int64)
        self._cells, self._counts = np.unique(cells, return_counts=True)
        self.count = len(cells)

    def p_value(self, score: float, theta: float) -> float:
        """In [0, 1]; small where few scores are as low. The score then belongs to the reference.

        Args:
            theta: in [0, 1], drawn evenly and independently of all scores.
        """
        own = cell(score)
        place = int(np.searchsorted(self._cells, own))
        if place == len(self._cells) or self._cells[place] != own:
            self._cells, self._counts = np.insert(self._cells, place, own), np.insert(self._counts, place, 0)
        self._counts[place] += 1
        self.count += 1
        return float((self._counts[:place].sum() + theta * self._counts[place]) / self.count)


class SimpleJumper:
    """The Simple Jumper of Vovk, Petej, Nouretdinov, Ahlberg, Carlsson and Gammerman, "Retrain or not retrain:
    conformal test martingales for change-point detection" (COPA 2021): wealth is spread over linear bets 1 + ε(p −
    1/2), and a share of it jumps between them, so that a change is met at any time.

    Attributes:
        log_wealth: natural logarithm of the present wealth; it began with 1.
    """

    def __init__(self) -> None:
        self._shares = [1 / len(STAKES)] * len(STAKES)  # of the wealth, one per bet
        self.log_wealth = 0.0

    def bet(self, p_value: float) -> None:
        """One more p-value in [0, 1]."""
        spread = [(1 - JUMP) * share + JUMP / len(STAKES) for share in self._shares]
        won = [share * (1 + stake * (p_value - 0.5)) for share, stake in zip(spread, STAKES, strict=True)]
        factor = sum(won)
        self._shares = [share / factor for share in won]
        self.log_wealth += math.log(factor)


def cell(score: float) -> int:
    """Number of a score's float16 value among all of them, in ascending order.

    Raises:
        ValueError: the score is NaN.
    """
    if math.isnan(score):
        raise ValueError("a score is NaN")
    with np.errstate(over="ignore"):  # what is too large is infinite, and a tie with other such scores
        bits = int(np.float16(score + 0.0).view(np.uint16))
    # Negative numbers have the sign bit, and grow in magnitude: mirrored, and all positive ones above them.
    return CELLS // 2 - 1 - (bits - CELLS // 2) if bits >= CELLS // 2 else CELLS // 2 + bits
