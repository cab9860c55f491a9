"""The gate that a lower precision must pass: on held-out images it gives the verdicts that fp32 gives.

Both variants decide with their own calibration, as they will when deployed.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from protoleak.errors import DatasetError
from protoleak.export.calibrate import Evaluation
from protoleak.export.settings import GateLimits
from protoleak.metrics.scores import auroc_known_unknown, macro_auc, macro_auc_softmax

REAL_FACES = "(real faces)"  # as in a report's open set


class GateResult(msgspec.Struct, frozen=True):
    """How a variant compares with fp32 on held-out images.

    Attributes:
        images: of the test split.
        all_images: these, the unknown and the real faces.
        generator_agreement, verdict_agreement: see `GateLimits`.
        macro_auc_drop, macro_auc_softmax_drop: fp32's minus the variant's; None where a generator has no test image.
        auroc_drop: of known against each set of unknown images, and against "(real faces)".
        largest_score_change: of any class score, in its own units.
        largest_log_density_change: in nats.
        real_faces_accused: photographs of people that are called a generator's, in fp32 and in the variant; None where
            none were given. No limit: it is there to be read.
        limits: that the variant was held to.
        failures: one phrase per limit that it breaks.
    """

    images: int
    all_images: int
    generator_agreement: float
    verdict_agreement: float
    macro_auc_drop: float | None
    macro_auc_softmax_drop: float | None
    auroc_drop: dict[str, float]
    largest_score_change: float
    largest_log_density_change: float
    real_faces_accused: tuple[int, int] | None
    limits: GateLimits
    failures: list[str]

    @property
    def passes(self) -> bool:
        return not self.failures


def compare_variants(
    reference: Evaluation,
    candidate: Evaluation,
    generators: Sequence[str],
    real: str | None,
    alpha: float,
    limits: GateLimits,
) -> GateResult:
    """Compares a variant with fp32, both run on the same images.

    Raises:
        DatasetError: there is no test image to compare on.
        CalibrationError: α is too small for the calibration images.
    """
    labels = reference.test_labels
    if not len(labels):
        raise DatasetError("there are no test images: fp16 and int8 are only written after a comparison with fp32")
    ours = {"": candidate.test, **candidate.unknown}
    theirs = {"": reference.test, **reference.unknown}
    if reference.real_faces is not None and candidate.real_faces is not None:
        ours[REAL_FACES], theirs[REAL_FACES] = candidate.real_faces, reference.real_faces

    verdicts = {
        name: (
            theirs[name].verdicts(reference.calibration, generators, real, alpha),
            ours[name].verdicts(candidate.calibration, generators, real, alpha),
        )
        for name in theirs
    }
    same = [
        (one == "unknown") == (other == "unknown")
        for pair in verdicts.values()
        for one, other in zip(*pair, strict=True)
    ]
    faces = verdicts.get(REAL_FACES)
    drops: list[float | None] = [None, None]
    if np.bincount(labels, minlength=len(generators)).min() > 0:
        drops = [
            metric(labels, reference.test.class_score) - metric(labels, candidate.test.class_score)
            for metric in (macro_auc, macro_auc_softmax)
        ]
    auroc_drop = {
        name: auroc_known_unknown(reference.test.log_density, theirs[name].log_density)
        - auroc_known_unknown(candidate.test.log_density, ours[name].log_density)
        for name in theirs
        if name
    }
    agreement = float((candidate.test.class_score.argmax(axis=1) == reference.test.class_score.argmax(axis=1)).mean())
    numbers = {
        "images": len(labels),
        "all_images": len(same),
        "generator_agreement": agreement,
        "verdict_agreement": float(np.mean(same)),
        "macro_auc_drop": drops[0],
        "macro_auc_softmax_drop": drops[1],
        "auroc_drop": auroc_drop,
        "largest_score_change": max(_change(ours[n].class_score, theirs[n].class_score) for n in theirs),
        "largest_log_density_change": max(_change(ours[n].log_density, theirs[n].log_density) for n in theirs),
        "real_faces_accused": None if faces is None else tuple(found.count("known") for found in faces),
        "limits": limits,
    }
    result = msgspec.convert(numbers | {"failures": []}, GateResult)
    return msgspec.structs.replace(result, failures=_failures(result))


def _change(
    ours: np.ndarray[tuple[int, ...], np.dtype[np.float32]], theirs: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> float:
    return float(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max(initial=0.0))


def _failures(result: GateResult) -> list[str]:
    limits = result.limits
    found = []
    for what, share, least in (
        ("the generator", result.generator_agreement, limits.generator_agreement),
        ("known or unknown", result.verdict_agreement, limits.verdict_agreement),
    ):
        if share < least:
            found.append(f"{what} agrees with fp32 on {share:.2%} of the images, below {least:.2%}")
    falls = {"macro AUC": result.macro_auc_drop, "macro AUC of the softmax": result.macro_auc_softmax_drop}
    falls |= {f"AUROC against {name}": drop for name, drop in result.auroc_drop.items()}
    for what, drop in falls.items():
        if drop is not None and drop > limits.auc_drop:
            found.append(f"{what} falls by {drop:.4f}, more than {limits.auc_drop:g}")
    return found
