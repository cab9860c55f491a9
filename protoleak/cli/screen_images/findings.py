"""`screen --fdr`: what may be called findings over all images of a run, and what of it is said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from protoleak.metrics.false_discovery import Discoveries, FalseDiscoveryControl, false_discovery_control

NAMES_SHOWN = 20  # of each kind; the threshold selects all of them in the results file
MEANING = (
    "Over many images some p-values are small by chance alone. Among these findings at most the stated share is "
    "expected to be wrong, as far as the photographs, or the known images, of this run are like those of the "
    "calibration (Benjamini–Hochberg). A finding is no verdict: the verdicts of single images stay as they are."
)


class Findings:
    """The p-values of a run.

    Args:
        level: the false discovery rate.
    """

    def __init__(self, level: float) -> None:
        self._level = level
        self._names: list[str] = []
        self._p_values: list[float] = []
        self._real_p_values: list[float] = []

    def add(self, lines: Sequence[dict[str, Any]]) -> None:
        """The records of one input, as in the results file. What lacks something to be judged is no test."""
        for line in lines:
            if line["outcome"] != "verdict" or line["lacking"] is not None:
                continue
            name = line["source"] or "image"
            self._names.append(f"{name}, face {line['face']}" if (line["faces"] or 1) > 1 else name)
            self._p_values.append(line["p_value"])
            self._real_p_values.append(math.nan if line["real_p_value"] is None else line["real_p_value"])

    def control(self) -> FalseDiscoveryControl:
        """The procedure over all of them."""
        return false_discovery_control(self._p_values, self._real_p_values, self._level)

    def named(self) -> list[tuple[str, list[str]]]:
        """Per kind one line with the numbers, and the findings' names by rising p-value."""
        control = self.control()
        kinds = (("not real", control.not_real, self._real_p_values), ("not known", control.not_known, self._p_values))
        return [
            (f"{name}: {found}", self._found(found, p_values)) for name, found, p_values in kinds if found is not None
        ]

    def _found(self, found: Discoveries, p_values: Sequence[float]) -> list[str]:
        if found.threshold is None:
            return []
        threshold = found.threshold
        order = sorted(range(len(p_values)), key=p_values.__getitem__)
        return [f"{self._names[place]} ({p_values[place]:.4g})" for place in order if p_values[place] <= threshold]


def print_findings(findings: Findings, console: Console) -> None:
    """All that was found, on the console."""
    for line, names in findings.named():
        console.print(line, markup=False, soft_wrap=True)
        for name in names[:NAMES_SHOWN]:
            console.print(f"  {name}", markup=False, soft_wrap=True)
        if len(names) > NAMES_SHOWN:
            console.print(f"  … and {len(names) - NAMES_SHOWN} more, all that have as small a p-value", markup=False)
