"""The parity gate: exported graphs compute what PyTorch computes on real images, or no bundle is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from protoleak.errors import ParityError

RELATIVE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class ParityRow:
    """How one output of a graph compares.

    Attributes:
        maximum, mean: absolute differences.
        relative: the largest absolute difference over the largest magnitude that PyTorch gave.
    """

    output: str
    maximum: float
    mean: float
    relative: float

    @property
    def passes(self) -> bool:
        return bool(self.relative <= RELATIVE_TOLERANCE)


def compare_outputs(
    expected: Mapping[str, npt.NDArray[Any]], actual: Mapping[str, npt.NDArray[Any]]
) -> tuple[ParityRow, ...]:
    """One row per output of `expected`, the PyTorch side.

    Raises:
        ParityError: an output is missing, has another shape, is not finite, or differs by more than 1e-4; the message
            holds the table.
    """
    rows, broken = [], []
    for name, reference in expected.items():
        result = actual.get(name)
        if result is None or result.shape != reference.shape:
            shape = "missing" if result is None else f"of shape {result.shape}"
            broken.append(f"{name} is {shape}, PyTorch gives {reference.shape}")
            continue
        if not (np.isfinite(result).all() and np.isfinite(reference).all()):
            side = "the exported graph" if np.isfinite(reference).all() else "PyTorch"
            broken.append(f"{name} is not finite in {side}")
            continue
        difference = np.abs(result.astype(np.float64) - reference.astype(np.float64))
        scale = max(float(np.abs(reference).max()), np.finfo(np.float32).tiny)
        rows.append(ParityRow(name, float(difference.max()), float(difference.mean()), float(difference.max()) / scale))
    if broken or not all(row.passes for row in rows):
        reasons = broken or [f"relative error above {RELATIVE_TOLERANCE:g}"]
        raise ParityError(
            f"the exported graph differs from PyTorch: {'; '.join(reasons)}; no bundle written\n{table(rows)}"
        )
    return tuple(rows)


def table(rows: list[ParityRow] | tuple[ParityRow, ...]) -> str:
    """The rows as text, one output a line."""
    lines = [f"{'output':<22}{'max |Δ|':>12}{'mean |Δ|':>12}{'relative':>12}"]
    for row in rows:
        mark = "" if row.passes else "  ← fails"
        lines.append(f"{row.output:<22}{row.maximum:>12.3e}{row.mean:>12.3e}{row.relative:>12.3e}{mark}")
    return "\n".join(lines)
