"""Are the images of a source still like those of the calibration? Evidence that may be read at any time.

Every promise of a verdict is for images like those of the calibration. So the log densities of what a source shows
are ranked among those of the calibration images that were attributed to the same class, and a conformal test
martingale bets that the ranks are not even (`metrics.martingale`). When it has grown a hundredfold, the evidence
against "these are like the calibration's" is 100:1; of a source that is like it, that is ever said with probability at
most 1 %.

What counts is what is not unknown by its density, so that a new generator, which is what *unknown* is for, is no
drift. The same threshold is applied to both sides: the calibration images above the k-th smallest log density are to
what lies above it of the source as all are to all. Whether an image is *named* or *withheld* by its margin doesn't
matter: to leave out the withheld would be a choice that the calibration's log densities had not gone through.

Neighbouring frames are nearly the same image, and would be evidence of nothing else: of a track only the first face
counts.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import msgspec

from protoleak.arrays import Float64Array
from protoleak.bundle.calibration import Calibration
from protoleak.metrics.martingale import SimpleJumper, SmoothedRanks, cell
from protoleak.runtime import conformal
from protoleak.runtime.verdict import Verdict

EVIDENCE = 100.0  # to 1, at which a source is said to have drifted
LARGEST_LOG = 690.0  # about 1e299, the most that is told: a float64 holds little more, and JSON no infinity
CERTAIN = 1_000_000.0  # evidence, to 1, of which nobody needs to know how much more it is
SEED = 27  # of the ties' drawn shares: the same images in the same order give the same evidence


class DriftEvent(msgspec.Struct, frozen=True, kw_only=True, tag="drift"):
    """The images of a source are not, or no longer, like those of the calibration: what verdicts promise may not hold
    for them. Said once of a source.

    Attributes:
        source: as given.
        timestamp: of the face with which the evidence sufficed, in a video; None elsewhere.
        faces: that were compared until then: one per track of a video.
        evidence: to 1; by chance it is ever so high with a probability of at most 1/evidence.
        mean_p_value: of these faces, 0.5 on average for images like the calibration's: below it they are more unusual
            than those, above it less.
    """

    source: str
    timestamp: float | None
    faces: int
    evidence: float
    mean_p_value: float

    def __str__(self) -> str:
        kind = "more unusual than" if self.mean_p_value < 0.5 else "not as varied as"
        return (
            f"after {self.faces} faces the evidence is {self.evidence:.0f}:1 that these images are not like those "
            f"that the bundle was calibrated with: on average they are {kind} those (mean p-value "
            f"{self.mean_p_value:.2f}), so that its promises may not hold here: have it calibrated with images of "
            "this source"
        )


class DriftMonitor:
    """Watches one source. Made by `ImagePipeline.drift_monitor`; for one thread at a time.

    Args:
        source: its name, for the event.
        generators: as in the manifest.
        calibration: of the variant in use.
        alpha: significance level of the verdicts.
        told_at: evidence, to 1, that suffices for the event.

    Attributes:
        source: as given.
        faces: compared so far.
        event: as `take` returned it; None as long as the evidence has not sufficed.
    """

    def __init__(
        self,
        source: str,
        generators: Sequence[str],
        calibration: Calibration,
        alpha: float,
        told_at: float = EVIDENCE,
    ) -> None:
        self.source, self.faces = source, 0
        self._told_at = math.log(told_at)
        self.event: DriftEvent | None = None
        self._thresholds: dict[str, int] = {}
        self._ranks: dict[str, SmoothedRanks] = {}
        self._references: dict[str, Float64Array] = {}
        for index, name in enumerate(generators):
            group, _ = conformal.group(calibration, index, alpha)
            rejecting = conformal.rejecting_ranks(len(group), alpha)
            self._thresholds[name] = cell(float(group[rejecting - 1])) if rejecting else -1
            self._references[name] = calibration.per_generator[index]
        self._jumper = SimpleJumper()
        self._random = random.Random(SEED)
        self._largest = 0.0
        self._p_values = 0.0

    @property
    def evidence(self) -> float:
        """To 1, against "like the calibration's", now: below 1 there is none."""
        return math.exp(min(self._jumper.log_wealth, LARGEST_LOG))

    @property
    def largest_evidence(self) -> float:
        """The most that there ever was, at least 1."""
        return math.exp(min(self._largest, LARGEST_LOG))

    def take(self, verdict: Verdict, timestamp: float | None = None) -> DriftEvent | None:
        """Compares one more image, or one more track by its first face.

        Args:
            timestamp: of the face, in a video.

        Returns:
            The event, when the evidence suffices for the first time.
        """
        if verdict.lacking is not None:
            return None
        nearest = verdict.nearest
        if cell(verdict.log_density) <= self._thresholds[nearest]:
            return None
        if nearest not in self._ranks:
            kept = [one for one in self._references[nearest].tolist() if cell(one) > self._thresholds[nearest]]
            self._ranks[nearest] = SmoothedRanks(kept)
        p_value = self._ranks[nearest].p_value(verdict.log_density, self._random.random())
        self._jumper.bet(p_value)
        self.faces += 1
        self._p_values += p_value
        self._largest = max(self._largest, self._jumper.log_wealth)
        if self.event is not None or self._jumper.log_wealth < self._told_at:
            return None
        self.event = DriftEvent(
            source=self.source,
            timestamp=timestamp,
            faces=self.faces,
            evidence=self.evidence,
            mean_p_value=self._p_values / self.faces,
        )
        return self.event


def evidence_text(faces: int, evidence: float) -> str:
    """What a report says of a source, be there drift or not.

    Args:
        faces: compared.
        evidence: the most that there ever was, to 1.
    """
    compared = f"{faces:,} {'face' if faces == 1 else 'faces'}"
    most = f"{evidence:.2g}" if evidence < 10 else f"{min(evidence, CERTAIN):,.0f}"
    beyond = "beyond" if evidence > CERTAIN else "at most"
    return f"evidence against it {beyond} {most}:1, over {compared}; from {EVIDENCE:.0f}:1 on it is called drift"
