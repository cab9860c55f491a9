"""What was asked of the default bundle, beside what its evaluation measured: for its model card and docs/targets.md."""

from __future__ import annotations

from typing import NamedTuple

from protoleak.evaluation.results import Robustness, SourceRow, VariantReport
from protoleak.metrics.measures import ALL_UNKNOWN

# What was asked for: shares, and areas under curves.
ACCUSED, NAMED, NAMED_IN_ALL, EDITED = 0.02, 0.85, 0.90, 0.75
MACRO_AUC, MACRO_AUC_EDITED, AUROC, FAKE_AUROC = 0.99, 0.97, 0.90, 0.97
UNKNOWN_REAL, UNKNOWN_NAMED, HEAVIEST_TIMESTEP = 0.05, 0.10, 0.9
EDITS = (("jpeg", 3), ("resize", 3), ("h264", 3))  # operator and severity that EDITED was asked for after


class Target(NamedTuple):
    """A number that was asked for, and what was measured.

    Attributes:
        sign: "≤" or "≥": on which side of the limit the value shall be.
        which: what the value is of, where that isn't everything.
    """

    text: str
    value: float | None
    limit: float
    sign: str
    which: str

    @property
    def met(self) -> bool | None:
        """None where it was not measured."""
        if self.value is None:
            return None
        return self.value <= self.limit if self.sign == "≤" else self.value >= self.limit


def target_rows(variant: VariantReport) -> list[Target]:
    """Every target of the default bundle, real faces accused first."""
    closed, robustness, faces = variant.closed_set, variant.robustness, variant.real_faces
    assert closed is not None
    assert robustness is not None, "the evaluation was made without operators"
    assert faces is not None, "the evaluation was given no photographs"
    known = [row for row in variant.by_source if row.kind == "known" and row.folder != "real"]
    others = [row for row in variant.by_source if row.kind == "unknown"]
    lowest = min(known, key=lambda row: row.right.share or 0)
    whole = variant.unknown[ALL_UNKNOWN].open_set
    fake = next((one for one in variant.real_open_set if one.score.endswith("of all generators")), None)
    worst = max(others, key=lambda row: row.called_real.share or 0)
    heaviest = max(variant.timestep_weights.items(), key=lambda item: item[1])
    return [
        Target("real faces accused", faces.accused.share, ACCUSED, "≤", ""),
        Target("known generators named rightly, the lowest", lowest.right.share, NAMED, "≥", f"`{lowest.folder}`"),
        Target("known generators named rightly, over all", pooled(known, "right"), NAMED_IN_ALL, "≥", ""),
        *(
            Target(f"known classes right after {row.operator} {row.level}", row.right.share, EDITED, "≥", "")
            for row in robustness.rows
            if (row.operator, row.severity) in EDITS
        ),
        Target("macro AUC of known classes", closed.macro_auc_softmax.value, MACRO_AUC, "≥", ""),
        Target("macro AUC over the operators", robustness.macro_auc, MACRO_AUC_EDITED, "≥", not_measured(robustness)),
        Target(
            "unknown generators called real, the worst", worst.called_real.share, UNKNOWN_REAL, "≤", f"`{worst.folder}`"
        ),
        Target("unknown generators named, over all", pooled(others, "named"), UNKNOWN_NAMED, "≤", ""),
        Target(
            "AUROC of known against unknown generators", None if whole is None else whole.auroc.value, AUROC, "≥", ""
        ),
        Target(
            "AUROC of known images against photographs", None if fake is None else fake.auroc.value, FAKE_AUROC, "≥", ""
        ),
        Target("weight of the heaviest timestep", heaviest[1], HEAVIEST_TIMESTEP, "≤", f"t = {heaviest[0]}"),
    ]


def not_measured(robustness: Robustness) -> str:
    """The operators that left a class without an image in which a face was found."""
    return f"without {', '.join(robustness.not_measured)}" if robustness.not_measured else ""


def pooled(rows: list[SourceRow], name: str) -> float | None:
    """The share over all rows together."""
    shares = [getattr(row, name) for row in rows]
    total = sum(one.of for one in shares)
    return sum(one.count for one in shares) / total if total else None
