"""The gate that a lower precision must pass: on held-out images it gives the verdicts that fp32 gives.

Both variants decide with their own calibration, as they will when deployed.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from protoleak.bundle.report import GateLimits, GateResult
from protoleak.errors import DatasetError
from protoleak.export.calibrate import Evaluation
from protoleak.export.report import Measured, VariantOutputs
from protoleak.metrics.scores import auroc_known_unknown, macro_auc, macro_auc_softmax

TEST, REAL_FACES = "", "(real faces)"  # names of sets beside those of unknown generators


def compare_variants(
    reference: Evaluation,
    candidate: Evaluation,
    generators: Sequence[str],
    real: str | None,
    alpha: float,
    limits: GateLimits,
) -> GateResult:
    """Compares a variant, in whatever compute, with fp32 in exact computing, both run on the same images.

    Raises:
        DatasetError: there is no test image to compare on.
        CalibrationError: α is too small for the calibration images.
    """
    ours, theirs = candidate.measured, reference.measured
    labels, sets = theirs.labels, _sets(theirs)
    if not len(labels):
        raise DatasetError(
            "there are no test images: other precisions and computes are only written after a comparison with fp32"
        )
    verdicts = {
        name: (
            outputs.verdicts(reference.calibration, generators, real, alpha),
            _sets(ours)[name].verdicts(candidate.calibration, generators, real, alpha),
        )
        for name, outputs in sets.items()
    }
    same_side = [
        (one == "unknown") == (other == "unknown")
        for pair in verdicts.values()
        for one, other in zip(*pair, strict=True)
    ]
    drops = _macro_auc_drops(labels, theirs.test, ours.test, len(generators))
    pairs = [(outputs, _sets(ours)[name]) for name, outputs in sets.items()]
    result = GateResult(
        images=len(labels),
        all_images=len(same_side),
        generator_agreement=float(
            (ours.test.class_score.argmax(axis=1) == theirs.test.class_score.argmax(axis=1)).mean()
        ),
        verdict_agreement=float(np.mean(same_side)),
        macro_auc_drop=drops[0],
        macro_auc_softmax_drop=drops[1],
        auroc_drop={
            name: auroc_known_unknown(theirs.test.log_density, outputs.log_density)
            - auroc_known_unknown(ours.test.log_density, _sets(ours)[name].log_density)
            for name, outputs in sets.items()
            if name != TEST
        },
        largest_score_change=max(_change(one.class_score, other.class_score) for one, other in pairs),
        largest_log_density_change=max(_change(one.log_density, other.log_density) for one, other in pairs),
        real_faces_accused=_accused(*verdicts[REAL_FACES]) if REAL_FACES in verdicts else None,
        limits=limits,
        failures=[],
    )
    return msgspec.structs.replace(result, failures=_failures(result))


def _sets(measured: Measured) -> dict[str, VariantOutputs]:
    """The outputs of every set of images, by name."""
    faces = {} if measured.real_faces is None else {REAL_FACES: measured.real_faces}
    return {TEST: measured.test, **measured.unknown, **faces}


def _macro_auc_drops(
    labels: npt.NDArray[np.int64], reference: VariantOutputs, candidate: VariantOutputs, generators: int
) -> tuple[float | None, float | None]:
    """Of raw scores and of the softmax; None where a generator has no test image."""
    if np.bincount(labels, minlength=generators).min() == 0:
        return None, None
    return (
        macro_auc(labels, reference.class_score) - macro_auc(labels, candidate.class_score),
        macro_auc_softmax(labels, reference.class_score) - macro_auc_softmax(labels, candidate.class_score),
    )


def _accused(reference: Sequence[str], candidate: Sequence[str]) -> tuple[int, int]:
    return reference.count("known"), candidate.count("known")


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
    if result.real_faces_accused is not None and result.real_faces_accused[1] > result.real_faces_accused[0]:
        found.append("{1} real faces are accused, and {0} by fp32".format(*result.real_faces_accused))
    falls = {"macro AUC": result.macro_auc_drop, "macro AUC of the softmax": result.macro_auc_softmax_drop}
    falls |= {f"AUROC against {name}": drop for name, drop in result.auroc_drop.items()}
    for what, drop in falls.items():
        if drop is not None and drop > limits.auc_drop:
            found.append(f"{what} falls by {drop:.4f}, more than {limits.auc_drop:g}")
    return found
