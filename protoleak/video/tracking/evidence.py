"""What the attributed faces of a track say together.

Frames of one person are anything but independent: neighbours are nearly the same image. So the p-values are merged by
a rule that is valid under any dependence (`metrics.merging`). With it, a track of a known generator is called unknown
with probability at most alpha, if each of its faces would be alone; and a track of camera originals, whose p-values
among such originals are merged alike, is accused with at most the accusation level of one face (but where there are
too few originals for so small a merged p-value: `conformal.track_accusation_level`).

The promise is for the verdict at one count of faces, such as the track's last; and for the track at every moment of it
where its faces are stationary, as those of one shot are. The e-values beside it hold for every moment whatever the
dependence: docs/decisions/0027-evidence-for-any-time.md.
"""

from __future__ import annotations

from protoleak.metrics.merging import Merging
from protoleak.runtime.decision import Evidence, Levels, label_of
from protoleak.runtime.verdict import Verdict
from protoleak.video.events import TrackLabel, TrackVerdict


class TrackEvidence:
    """The merged evidence of a track's faces: the memory that it takes doesn't grow with the track.

    Args:
        alpha: significance level for unknown.
        minimum: attributed faces before there is a verdict; below it the verdict is "undecided".
        real_class: the bundle's class of camera originals, None where it has none.
        accusation_level: of a track; None where a face has none.
    """

    def __init__(self, alpha: float, minimum: int, real_class: str | None, accusation_level: float | None) -> None:
        self._alpha, self._minimum, self._real_class = alpha, minimum, real_class
        self._faces = 0
        self._known = Merging(alpha)
        self._real = None if accusation_level is None else Merging(accusation_level)
        self._generated: Merging | None = None
        self._scores: dict[str, float] = {}
        self._verdict: TrackVerdict | None = None

    def add(self, verdict: Verdict) -> None:
        """Takes in the verdict of one more face; one that lacks what a verdict could rest on is no evidence."""
        if verdict.lacking is not None:
            return
        if not self._faces and verdict.acquittal_level is not None:
            # A merged p-value of one face is twice its own: at twice its level it is held to the level of one face.
            # Accusing is held to the promise itself.
            self._generated = Merging(2 * verdict.acquittal_level)
        self._faces += 1
        self._known.add(verdict.p_value)
        self._real = _added(self._real, verdict.real_p_value)
        self._generated = _added(self._generated, verdict.generated_p_value)
        for name, score in verdict.scores.items():
            self._scores[name] = self._scores.get(name, 0.0) + score
        self._verdict = None

    def verdict(self) -> TrackVerdict:
        """The track's verdict with the faces that there are: that of `DecisionRule` on mean scores and the merged
        p-values. "undecided" names no generator."""
        if self._verdict is None:
            self._verdict = self._judge()
        return self._verdict

    def _judge(self) -> TrackVerdict:
        scores = {name: total / self._faces for name, total in self._scores.items()}
        nearest = max(scores, key=lambda name: scores[name]) if scores else None
        real, generated = (self._real, self._generated) if self._faces else (None, None)
        merged = Evidence(
            self._known.p_value,
            None if real is None else real.p_value,
            None if generated is None else generated.p_value,
        )
        label: TrackLabel = "undecided"
        if nearest is not None and self._faces >= self._minimum:
            levels = Levels(
                self._alpha,
                None if self._real is None else self._real.level,
                None if self._generated is None else self._generated.level,
            )
            label = label_of(merged, nearest == self._real_class, levels)
        return TrackVerdict(
            label=label,
            generator=nearest if label == "known" else None,
            nearest=nearest,
            p_value=merged.p_value,
            real_p_value=merged.real_p_value,
            generated_p_value=merged.generated_p_value,
            e_value=self._known.e_value,
            real_e_value=None if real is None else real.e_value,
            generated_e_value=None if generated is None else generated.e_value,
            evidence=self._faces,
            scores=scores,
        )


def _added(merging: Merging | None, p_value: float | None) -> Merging | None:
    """None as soon as one face has no such p-value."""
    if merging is None or p_value is None:
        return None
    merging.add(p_value)
    return merging
