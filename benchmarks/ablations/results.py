"""What an ablation gives."""

from __future__ import annotations

from typing import Literal

import msgspec

from protoleak.metrics.report import Estimate, Share

How = Literal["as trained", "switched at test time", "fitted again", "trained again"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One change.

    Attributes:
        part: of the method.
        change: what was done to it.
        how: "switched at test time": the trained weights are used without the part that they were trained with;
            "fitted again": only head or density are others; "trained again": a short training of its own, to be
            compared with the row "as it is" of that training alone. Head, density and thresholds always follow.
        error: why there are no numbers.
        auroc_unknown: known test images against all unknown generators together.
        auroc_per_unknown: against each.
        auroc_real: known generators' images against the real photographs, by log density.
        real_accused, unknown_rejected, false_rejection, withheld: at α, as `protoleak evaluate` has them.
    """

    part: str
    change: str
    how: How
    error: str | None = None
    macro_auc_softmax: Estimate | None = None
    accuracy: Estimate | None = None
    auroc_unknown: Estimate | None = None
    auroc_per_unknown: dict[str, float | None] = {}
    auroc_real: Estimate | None = None
    real_accused: Share | None = None
    unknown_rejected: Share | None = None
    false_rejection: Share | None = None
    withheld: Share | None = None
