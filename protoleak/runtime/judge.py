"""From what the attribution graph gave of one face to its verdict, wherever the graph ran."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from protoleak.arrays import Array
from protoleak.bundle.bundle import Bundle, Variant
from protoleak.choices import Upright
from protoleak.images.claims.claim import Claim, disagreement
from protoleak.runtime.decision import DecisionRule, explain
from protoleak.runtime.engines import EngineDescription
from protoleak.runtime.verdict import BundleRecord, InputRecord, SignerRecord, Verdict


@dataclass(frozen=True)
class JudgedInput:
    """What a verdict says of its input besides what the graphs made of it.

    Attributes:
        source: the path as given; None for an image from memory.
        record: of the file or the pixels.
        notes: what was converted on the way to RGB.
        lacking: why it holds too little to judge; None where there is enough.
        claims: what the file says of its own origin.
    """

    source: str | None
    record: InputRecord
    notes: tuple[str, ...] = ()
    lacking: str | None = None
    claims: tuple[Claim, ...] = ()


class Judge:
    """The decision of one variant of a bundle, with its reasons and its record.

    Attributes:
        alpha: significance level.
        rule: the open-set decision.
        bundle_record: the bundle, as verdicts name it.

    Args:
        variant: of the bundle.
        alpha: None for the bundle's own.
        upright: what verdicts say of how images were turned; None for the bundle's own.

    Raises:
        CalibrationError: alpha is outside (0, 1), or too small for the calibration images.
    """

    def __init__(
        self, bundle: Bundle, variant: Variant, *, alpha: float | None = None, upright: Upright | None = None
    ) -> None:
        manifest = bundle.manifest
        self.alpha = manifest.alpha if alpha is None else alpha
        self.rule = DecisionRule(manifest.generators, manifest.real_class, variant.calibration, self.alpha)
        self.bundle_record = BundleRecord(manifest.name, bundle.sha256, variant.name, _signer(bundle), variant.compute)
        self._manifest, self._prototypes = manifest, bundle.prototypes
        self._upright: Upright = upright or manifest.preprocessing.upright

    def verdict(
        self,
        judged: JudgedInput,
        outputs: Mapping[str, Array],
        engine: EngineDescription,
        milliseconds: Mapping[str, float],
    ) -> Verdict:
        """What is said of one face.

        Args:
            outputs: of the attributor for this face, by the names of `executors.ATTRIBUTOR_OUTPUTS`, without the axis
                of the batch; all finite.
            engine: what ran the graphs.
            milliseconds: stage → time spent so far.
        """
        started = time.perf_counter()
        log_density = float(outputs["log_density"])
        decision = self.rule.decide(outputs["class_score"], log_density, judged=judged.lacking is None)
        why = explain(
            self._manifest,
            self._prototypes,
            decision.nearest,
            embedding=outputs["embedding"],
            gate=outputs["gate"],
            timestep_weight=outputs["timestep_weight"],
            prototype_distance=outputs["prototype_distance"],
        )
        spent = {**milliseconds, "decision": 1000 * (time.perf_counter() - started)}
        return Verdict(
            source=judged.source,
            label=decision.label,
            generator=decision.generator,
            nearest=decision.nearest,
            p_value=decision.p_value,
            real_p_value=decision.real_p_value,
            accusation_level=self.rule.accusation_level,
            generated_p_value=decision.generated_p_value,
            acquittal_level=self.rule.acquittal_level,
            alpha=self.alpha,
            calibration=decision.calibration,
            log_density=log_density,
            scores=decision.scores,
            probabilities=decision.probabilities,
            why=why,
            notes=[*judged.notes, *([judged.lacking] if judged.lacking else [])],
            lacking=judged.lacking,
            upright=self._upright,
            claims=list(judged.claims),
            disagreement=disagreement(decision.label, judged.claims),
            input=judged.record,
            bundle=self.bundle_record,
            engine=engine,
            milliseconds={stage: round(value, 3) for stage, value in spent.items()},
        )


def _signer(bundle: Bundle) -> SignerRecord | None:
    """What verdicts say of a signature; nothing of one that could not be checked."""
    if bundle.signer is None or not bundle.signer.checked:
        return None
    return SignerRecord(bundle.signer.key, bundle.signer.trusted)
