"""What the attributed faces of a track say together.

Frames of one person are anything but independent: neighbours are nearly the same image. So the p-values are merged by
a rule that is valid under any dependence: for p-values p_1 … p_K, min(1, 2 · mean) is a p-value (Rüschendorf 1982,
"Random variables with maximum sums", Theorem 2; Vovk and Wang 2020, "Combining p-values via averaging", Biometrika 107,
which shows that no factor below 2 holds for all K). With it, a track of a known generator is called unknown with
probability at most alpha, if each of its faces would be alone; and a track of camera originals, whose p-values among
such originals are merged alike, is accused with at most the accusation level of one face (but where there are too few
originals for so small a merged p-value: `conformal.track_accusation_level`). The promise is for the verdict at one
count of faces, such as the track's last; not for "never unknown at any moment of it".
"""

from __future__ import annotations

import math
from fractions import Fraction

from protoleak.runtime.decision import Evidence, Levels, label_of
from protoleak.runtime.verdict import Verdict
from protoleak.video.events import TrackLabel, TrackVerdict


class TrackEvidence:
    """Sums over a track's faces: the memory that it takes doesn't grow with the track.

    Args:
        alpha: significance level for unknown.
        minimum: attributed faces before there is a verdict; below it the verdict is "undecided".
        real_class: the bundle's class of camera originals, None where it has none.
        accusation_level: of a track; None where a face has none.
    """

    def __init__(self, alpha: float, minimum: int, real_class: str | None, accusation_level: float | None) -> None:
        self._alpha, self._minimum, self._real_class = alpha, minimum, real_class
        self._accusation_level = accusation_level
        self._faces = 0
        # Exact sums: p-values are ranks, which often equal their level, and a rounded sum would lie above or below it.
        self._p_values = Fraction(0)
        self._real_p_values: Fraction | None = Fraction(0)
        self._generated_p_values: Fraction | None = Fraction(0)
        self._acquittal_level: float | None = None
        self._scores: dict[str, float] = {}

    def add(self, verdict: Verdict) -> None:
        """Takes in the verdict of one more face; one that lacks what a verdict could rest on is no evidence."""
        if verdict.lacking is not None:
            return
        self._faces += 1
        self._p_values += Fraction(verdict.p_value)
        self._real_p_values = _sum(self._real_p_values, verdict.real_p_value)
        self._generated_p_values = _sum(self._generated_p_values, verdict.generated_p_value)
        self._acquittal_level = verdict.acquittal_level
        for name, score in verdict.scores.items():
            self._scores[name] = self._scores.get(name, 0.0) + score

    def verdict(self) -> TrackVerdict:
        """The track's verdict with the faces that there are: that of `DecisionRule` on mean scores and the merged
        p-value. "undecided" names no generator."""
        scores = {name: total / self._faces for name, total in self._scores.items()}
        nearest = max(scores, key=lambda name: scores[name]) if scores else None
        p_value = merged_p_value(float(self._p_values / self._faces)) if self._faces else 1.0
        real_p_value, generated_p_value = (
            None if total is None or not self._faces else merged_p_value(float(total / self._faces))
            for total in (self._real_p_values, self._generated_p_values)
        )
        label: TrackLabel = "undecided"
        if nearest is not None and self._faces >= self._minimum:
            # A merged p-value is twice the mean: at twice its level the mean is held to the level of one face. Accusing
            # is held to the promise itself.
            acquittal = None if self._acquittal_level is None else 2 * self._acquittal_level
            merged = Evidence(p_value, real_p_value, generated_p_value)
            levels = Levels(self._alpha, self._accusation_level, acquittal)
            label = label_of(merged, nearest == self._real_class, levels)
        return TrackVerdict(
            label=label,
            generator=nearest if label == "known" else None,
            nearest=nearest,
            p_value=p_value,
            real_p_value=real_p_value,
            generated_p_value=generated_p_value,
            evidence=self._faces,
            scores=scores,
        )


def _sum(total: Fraction | None, p_value: float | None) -> Fraction | None:
    """None as soon as one face has no such p-value."""
    return None if total is None or p_value is None else total + Fraction(p_value)


def merged_p_value(mean: float) -> float:
    """min(1, 2 · mean): a p-value, whatever the dependence of those that `mean` is the arithmetic mean of."""
    if math.isnan(mean):
        raise ValueError("the mean of the p-values is NaN")
    return min(1.0, 2.0 * mean)
