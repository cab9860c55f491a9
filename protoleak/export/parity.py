"""The parity gate: exported graphs compute what PyTorch computes on real images, or no bundle is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from protoleak.bundle.report import OutputParity
from protoleak.errors import DatasetError, EngineError, ParityError
from protoleak.export.graphs import DeployedAttributor
from protoleak.export.images import spread_pixels
from protoleak.export.runner import VariantRunner
from protoleak.faces.framer import Framer
from protoleak.model.checkpoint import TrainedModel
from protoleak.runtime.executors import ATTRIBUTOR_OUTPUTS

RELATIVE_TOLERANCE = 1e-4
PARITY_IMAGES = 8


def prove_parity(
    model: TrainedModel, deployed: DeployedAttributor, runner: VariantRunner, framer: Framer, paths: Sequence[Path]
) -> tuple[OutputParity, ...]:
    """Compares both graphs with PyTorch on real images, each graph fed what the runtime feeds it; PyTorch noises z0
    and takes every operation of z_t, whatever the graph does.

    Raises:
        ParityError: they differ by more than 1e-4 of an output's largest magnitude, or a graph fails or gives an output
            that is not finite.
        DatasetError: there is no image to compare on.
    """
    pixels = spread_pixels(paths, PARITY_IMAGES, framer)
    if not pixels:
        raise DatasetError(
            f"none of {len(paths)} calibration images can be read: they are needed to prove the exported graphs on, "
            "and to calibrate with"
        )
    images = np.stack(pixels)
    try:
        stages = runner.stages(images)
    except EngineError as error:
        raise ParityError(f"the exported graphs cannot be used: {error}; no bundle written") from error
    z_t = model.config.noised(stages["z0"])
    with torch.inference_mode():
        outputs = deployed(torch.from_numpy(stages.get("z_t", z_t)))
    expected = {"z0": model.encode(images.reshape(-1, *images.shape[2:]))}
    expected |= {"z_t": z_t} if "z_t" in stages else {}
    expected |= {name: value.numpy() for name, value in zip(ATTRIBUTOR_OUTPUTS, outputs, strict=True)}
    return compare_outputs(expected, stages)


def compare_outputs(
    expected: Mapping[str, npt.NDArray[Any]], actual: Mapping[str, npt.NDArray[Any]]
) -> tuple[OutputParity, ...]:
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
        maximum, mean, relative = float(difference.max()), float(difference.mean()), float(difference.max()) / scale
        rows.append(OutputParity(name, maximum, mean, relative, relative <= RELATIVE_TOLERANCE))
    if broken or not all(row.passes for row in rows):
        reasons = broken or [f"relative error above {RELATIVE_TOLERANCE:g}"]
        raise ParityError(
            f"the exported graph differs from PyTorch: {'; '.join(reasons)}; no bundle written\n{table(rows)}"
        )
    return tuple(rows)


def table(rows: list[OutputParity] | tuple[OutputParity, ...]) -> str:
    """The rows as text, one output a line."""
    lines = [f"{'output':<22}{'max |Δ|':>12}{'mean |Δ|':>12}{'relative':>12}"]
    for row in rows:
        mark = "" if row.passes else "  ← fails"
        lines.append(f"{row.output:<22}{row.maximum:>12.3e}{row.mean:>12.3e}{row.relative:>12.3e}{mark}")
    return "\n".join(lines)
