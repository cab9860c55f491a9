"""From embeddings to the numbers of one row: head, open-set rule and conformal thresholds are fitted to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from benchmarks.ablations.latents import Encoded
from benchmarks.ablations.network import Embedded
from benchmarks.ablations.openness import DEFAULT_RULE, RULES, Fitted
from benchmarks.ablations.results import How, Row
from protoleak.bundle.manifest import Manifest
from protoleak.calibration.conformal_fit import calibrate
from protoleak.calibration.heads import fit_head
from protoleak.choices import HeadKind
from protoleak.errors import CalibrationError
from protoleak.export.report import VariantOutputs
from protoleak.metrics import measures
from protoleak.metrics.classes import Classes
from protoleak.metrics.intervals import Resamples
from protoleak.metrics.predictions import Predictions
from protoleak.runtime.decision import Decision, Evidence, Levels, label_of

# That an image is unlike camera originals before a generator is named: at which level that is asked for.
UNLIKE_CAMERAS = "unlike camera originals"
Level = Literal["as deployed", "at α", "not asked for"]
DEFAULT_LEVEL: Level = "as deployed"
AT_ALPHA: Level = "at α"
NOT_ASKED: Level = "not asked for"


@dataclass(frozen=True)
class Judge:
    """Measures rows on the same images with the same resamples."""

    manifest: Manifest
    encoded: Encoded
    resamples: Resamples
    alpha: float

    def row(
        self,
        part: str,
        change: str,
        how: How,
        splits: dict[str, Embedded],
        measured: Embedded,
        head: HeadKind,
        rule: str = DEFAULT_RULE,
        level: Level = DEFAULT_LEVEL,
    ) -> Row:
        """One row; where the data don't allow it, its error."""
        try:
            return self._row(part, change, how, splits, measured, head, rule, level)
        except CalibrationError as error:
            return Row(part=part, change=change, how=how, error=str(error))

    def _row(
        self,
        part: str,
        change: str,
        how: How,
        splits: dict[str, Embedded],
        measured: Embedded,
        head: HeadKind,
        rule: str,
        level: Level,
    ) -> Row:
        train, validation, held_out = (splits[name] for name in ("train", "validation", "calibration"))
        labels = {name: one.labels for name, one in self.encoded.splits.items()}
        fitted = fit_head(
            head,
            *(train.embedding, train.gate, labels["train"]),
            *(validation.embedding, validation.gate, labels["validation"]),
            self.manifest.generators,
        )
        openness = RULES[rule](
            Fitted(train, labels["train"], validation, splits.get("auxiliary"), self.manifest.density)
        )

        def score(images: Embedded) -> VariantOutputs:
            # float64 throughout: an open-set rule may have a range that float32 has not
            scores = fitted.scores(images.embedding, images.gate, images.class_score)
            return VariantOutputs(scores, openness(images))  # type: ignore[arg-type]

        calibrated = score(held_out)
        generators, real = self.manifest.generators, self.manifest.real_class
        calibration = calibrate(
            calibrated.log_density, calibrated.class_score, generators, None, labels["calibration"], real
        )
        found = score(measured)
        decisions = found.decisions(calibration, generators, real, self.alpha)
        images = self.encoded.images
        predictions = Predictions(
            classes=Classes.of(generators, real),
            kinds=np.array([image.kind for image in images], dtype=np.str_),
            folders=np.array([image.folder for image in images], dtype=np.str_),
            labels=np.array([image.label for image in images], dtype=np.int64),
            sources=tuple(image.source for image in images),
            class_score=np.asarray(found.class_score, dtype=np.float64),
            probability=None,
            log_density=np.asarray(found.log_density, dtype=np.float64),
            rejected=np.array([decision.p_value <= self.alpha for decision in decisions], dtype=np.bool_),
            verdicts=np.array([self._verdict(decision, level) for decision in decisions], dtype=np.str_),
        )
        return self._measured(Row(part=part, change=change, how=how), predictions)

    def _verdict(self, decision: Decision, level: Level) -> str:
        if level == DEFAULT_LEVEL:
            return decision.label
        nearest_is_real = decision.nearest == self.manifest.real_class
        asked = None if level == NOT_ASKED else self.alpha
        evidence = Evidence(decision.p_value, decision.real_p_value, decision.generated_p_value)
        return label_of(evidence, nearest_is_real, Levels(self.alpha, asked, None))

    def _measured(self, row: Row, predictions: Predictions) -> Row:
        known, unknown, real = (predictions.of_kind(kind) for kind in ("known", "unknown", "real"))
        closed = measures.closed_set(known, self.resamples)
        changes: dict[str, object] = {
            "macro_auc_softmax": closed.macro_auc_softmax,
            "accuracy": closed.accuracy,
            "false_rejection": self.resamples.share(known.sources, known.rejected),
            "withheld": self.resamples.share(known.sources, (known.verdicts == "unknown") & ~known.rejected),
        }
        if len(unknown):
            together = measures.unknown_generator(known, unknown, self.resamples)
            changes["unknown_rejected"] = together.rejected
            changes["auroc_unknown"] = None if together.open_set is None else together.open_set.auroc
            changes["auroc_per_unknown"] = {
                name: None if against.open_set is None else against.open_set.auroc.value
                for name in dict.fromkeys(unknown.folders.tolist())
                for against in [measures.unknown_generator(known, unknown.of_kind("unknown", name), Resamples.none())]
            }
        if len(real):
            changes["real_accused"] = measures.real_faces(real, self.resamples).accused
            against_real = measures.against_real(known, real, self.resamples)
            changes["auroc_real"] = against_real[0].auroc if against_real else None
        return msgspec.structs.replace(row, **changes)
