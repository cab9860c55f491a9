"""Intervals by resampling source images.

Images of different generators that were made from one source image share its content, and what is hard about it:
they are no independent evidence. So sources are drawn with replacement, and all their images come along (the cluster
bootstrap; Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). The intervals are the
2.5 % and 97.5 % quantiles of the metric over the resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from protoleak.arrays import Float64Array
from protoleak.evaluation.results import Estimate, Share
from protoleak.metrics.ranking import BoolArray, weighted_share
from protoleak.metrics.scores import wilson_interval

CHUNK_ELEMENTS = 2**21  # 16 MB of weights at a time; a metric holds several arrays of that size
LARGEST_UNDEFINED_SHARE = 0.05
INTERVAL = (2.5, 97.5)

Metric = Callable[[Float64Array], Float64Array]  # weights [B, n] → [B]


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
            return Estimate(None, None, why_undefined)
        found = self._over(sources, metric)
        undefined = int(np.isnan(found).sum())
        if not len(found):
            return Estimate(value, None, "no resample was asked for")
        if undefined > LARGEST_UNDEFINED_SHARE * len(found):
            return Estimate(value, None, f"undefined in {undefined} of {len(found)} resamples: too few sources")
        low, high = np.nanpercentile(found, INTERVAL)
        return Estimate(value, (float(low), float(high)), None)

    def share(self, sources: Sequence[str], which: BoolArray) -> Share:
        """How many images something holds of, with Wilson's interval for independent images and that over the
        resampled sources."""
        count, total = int(which.sum()), len(which)
        over_sources = self.estimate(sources, lambda weights: weighted_share(which, weights), "no image")
        return Share(
            count, total, count / total if total else None, wilson_interval(count, total), over_sources.interval_95
        )

    def _over(self, sources: Sequence[str], metric: Metric) -> Float64Array:
        columns = [self._position[name] for name in sources]
        rows = max(1, CHUNK_ELEMENTS // max(len(columns), 1))
        parts = [metric(self._weights[start : start + rows, columns]) for start in range(0, len(self._weights), rows)]
        return np.concatenate(parts) if parts else np.zeros(0)
