"""95 % intervals: Wilson's for a proportion of independent images, and over resampled source images for any metric.

Images of different generators that were made from one source image share its content, and what is hard about it:
they are no independent evidence. So sources are drawn with replacement, and all their images come along (the cluster
bootstrap; Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). The intervals over
resamples are the 2.5 % and 97.5 % quantiles of the metric.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from protoleak.arrays import Float64Array
from protoleak.metrics.ranking import BoolArray, weighted_share
from protoleak.metrics.report import Estimate, Share

CHUNK_ELEMENTS = 2**21  # 16 MB of weights at a time; a metric holds several arrays of that size
LARGEST_UNDEFINED_SHARE = 0.05
INTERVAL = (2.5, 97.5)
NORMAL_QUANTILE_95 = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution

Metric = Callable[[Float64Array], Float64Array]  # weights [B, n] → [B]


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a proportion; (0, 1) without trials.

    Raises:
        ValueError: not 0 ≤ successes ≤ trials.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is no proportion")
    if trials == 0:
        return 0.0, 1.0
    z_squared = NORMAL_QUANTILE_95**2
    share = successes / trials
    centre = (share + z_squared / (2 * trials)) / (1 + z_squared / trials)
    variance = share * (1 - share) / trials + z_squared / (4 * trials**2)
    half = NORMAL_QUANTILE_95 * math.sqrt(variance) / (1 + z_squared / trials)
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return low, high


class Resamples:
    """Weights of images in resamples of their sources; the same sources are drawn for every set of images.

    Args:
        sources: of all images there are, in any order.
        count: of resamples; 0 for estimates without intervals.
        seed: of the draws.
    """

    def __init__(self, sources: Sequence[str], count: int, seed: int) -> None:
        names = sorted(set(sources))
        self._position = {name: index for index, name in enumerate(names)}
        random = np.random.Generator(np.random.Philox(key=[seed, len(names)]))
        drawn = random.integers(0, max(len(names), 1), (count, len(names)))
        self._weights = np.stack(
            [np.bincount(row, minlength=len(names)) for row in drawn] or [np.zeros(len(names), dtype=np.int64)]
        ).astype(np.float64)[:count]

    @property
    def sources(self) -> int:
        """How many different sources there are."""
        return len(self._position)

    @property
    def count(self) -> int:
        return len(self._weights)

    def estimate(self, sources: Sequence[str], metric: Metric, why_undefined: str) -> Estimate:
        """A metric of all images, and its 95 % interval over the resamples.

        Args:
            sources: one per image, in the order of the metric's weights.
            metric: NaN where weights leave it undefined.
            why_undefined: what is missing then.
        """
        value = float(metric(np.ones((1, len(sources))))[0]) if sources else np.nan
        if np.isnan(value):
            return Estimate(None, missing=why_undefined)
        found = self._over(sources, metric)
        undefined = int(np.isnan(found).sum())
        if not len(found):
            return Estimate(value)
        if undefined > LARGEST_UNDEFINED_SHARE * len(found):
            return Estimate(value, missing=f"undefined in {undefined} of {len(found)} resamples: too few sources")
        low, high = np.nanpercentile(found, INTERVAL)
        return Estimate(value, (float(low), float(high)))

    def share(self, sources: Sequence[str], which: BoolArray) -> Share:
        """How many images something holds of, with Wilson's interval for independent images and that over the
        resampled sources."""
        count, total = int(which.sum()), len(which)
        over_sources = self.estimate(sources, lambda weights: weighted_share(which, weights), "no image")
        return Share(
            count, total, count / total if total else None, wilson_interval(count, total), over_sources.interval_95
        )

    @classmethod
    def none(cls) -> Resamples:
        """No resamples: every estimate is a number without an interval, of images of any source."""
        return cls((), 0, 0)

    def _over(self, sources: Sequence[str], metric: Metric) -> Float64Array:
        if not self.count:
            return np.zeros(0)
        columns = [self._position[name] for name in sources]
        rows = max(1, CHUNK_ELEMENTS // max(len(columns), 1))
        parts = [metric(self._weights[start : start + rows, columns]) for start in range(0, len(self._weights), rows)]
        return np.concatenate(parts)
