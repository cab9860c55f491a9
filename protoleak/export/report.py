"""What a variant does on images: measured with the very graphs that are written, through the runtime's own line.

Real faces accused come first, here as everywhere: the worst error of this software is to name a generator for a
photograph of a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Float32Array
from protoleak.bundle.bundle import Calibration
from protoleak.metrics.scores import (
    auroc_known_unknown,
    closed_set,
    false_positive_rate_at_95,
    wilson_interval,
)
from protoleak.runtime import conformal
from protoleak.runtime.decision import Decision, DecisionRule


@dataclass(frozen=True)
class VariantOutputs:
    """What a variant gave for n images: class_score float32 [n, K] and log_density float32 [n]."""

    class_score: Float32Array
    log_density: Float32Array

    def verdicts(
        self, calibration: Calibration, generators: Sequence[str], real: str | None, alpha: float
    ) -> list[str]:
        """ "known", "real" or "unknown" of each image, by the runtime's rule."""
        return [decision.label for decision in self.decisions(calibration, generators, real, alpha)]

    def decisions(
        self, calibration: Calibration, generators: Sequence[str], real: str | None, alpha: float
    ) -> list[Decision]:
        """The runtime's answer for each image."""
        rule = DecisionRule(generators, real, calibration, alpha)
        pairs = zip(self.class_score, self.log_density, strict=True)
        return [rule.decide(score, float(density)) for score, density in pairs]


def measure_variant(
    calibration: Calibration,
    generators: Sequence[str],
    real: str | None,
    alpha: float,
    test: VariantOutputs,
    test_labels: npt.NDArray[np.int64],
    unknown: Mapping[str, VariantOutputs],
    real_faces: VariantOutputs | None,
) -> dict[str, Any]:
    """report.json of a variant: what it was measured to do at α.

    Args:
        test, test_labels: images of known generators that nothing has seen; may be empty.
        unknown: per unseen generator.
        real_faces: photographs of people from sources that training never saw.

    Raises:
        CalibrationError: α is outside (0, 1), or too small for the calibration images.
    """
    report: dict[str, Any] = {"alpha": alpha}
    groups = [conformal.group(calibration, index, alpha) for index in range(len(generators))]
    if real_faces is not None:
        verdicts = real_faces.verdicts(calibration, generators, real, alpha)
        named = [
            generators[i] for i, v in zip(real_faces.class_score.argmax(axis=1), verdicts, strict=True) if v == "known"
        ]
        report["real_faces_accused"] = {
            **_share(verdicts.count("known"), len(verdicts)),
            "verdicts": {verdict: verdicts.count(verdict) for verdict in ("known", "real", "unknown")},
            "accused_of": {name: named.count(name) for name in sorted(set(named))},
        }
    if len(test_labels):
        decisions = test.decisions(calibration, generators, real, alpha)
        if real is not None:
            camera = [d.label for d, label in zip(decisions, test_labels, strict=True) if generators[label] == real]
            report["real_class_accused"] = _share(camera.count("known"), len(camera))
        promised = conformal.promise(calibration, alpha)
        rejected = sum(decision.p_value <= alpha for decision in decisions)
        unnamed = sum(decision.label == "unknown" for decision in decisions)
        report["withheld"] = _share(unnamed - rejected, len(decisions))
        report["false_rejection"] = {
            **_share(rejected, len(decisions)),
            "promised_on_average": promised.on_average,
            "bound_95": promised.bound_95,
            "calibration_images": len(calibration.overall),
        }
        if np.bincount(test_labels, minlength=len(generators)).min() > 0:
            report["closed_set"] = closed_set(test_labels, test.class_score, generators)
    if unknown:
        report["open_set"] = {
            name: {
                **(_open_set(test.log_density, outputs.log_density) if len(test_labels) else {}),
                "rejected": _share(
                    outputs.verdicts(calibration, generators, real, alpha).count("unknown"), len(outputs.log_density)
                ),
            }
            for name, outputs in unknown.items()
        }
    if real_faces is not None and len(test_labels):
        report.setdefault("open_set", {})["(real faces)"] = _open_set(test.log_density, real_faces.log_density)
    report["calibration"] = {
        name: {
            "n": len(group),
            "compared_with": "its own images" if kind == "generator" else "all images",
            "bound_95": conformal.false_rejection_bound(len(group), alpha),
        }
        for name, (group, kind) in zip(generators, groups, strict=True)
    }
    return report


def _open_set(known: Float32Array, unknown: Float32Array) -> dict[str, float]:
    return {
        "auroc": auroc_known_unknown(known, unknown),
        "fpr_at_95_tpr": false_positive_rate_at_95(known, unknown),
    }


def _share(count: int, total: int) -> dict[str, Any]:
    """A proportion with its 95 % Wilson interval."""
    low, high = wilson_interval(count, total)
    return {"count": count, "of": total, "share": count / total if total else None, "interval_95": [low, high]}
