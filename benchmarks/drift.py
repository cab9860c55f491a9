"""How often a source like the calibration is said to have drifted, and after how many faces one that has is.

    python benchmarks/drift.py --json benchmarks/results/drift.json

Log densities are simulated: normal, of two classes that lie far apart and come in shares that are not the
calibration's. Those of a source that has drifted lie some standard deviations lower, from its beginning or from a
later face on. "Fixed" is what `protoleak.metrics.martingale` does not do: p-values among the calibration images alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np

from protoleak.bundle.calibration import Calibration
from protoleak.environment.machine import describe_machine
from protoleak.files import write_whole
from protoleak.metrics.martingale import SimpleJumper
from protoleak.runtime.drift import EVIDENCE, DriftMonitor
from protoleak.runtime.verdict import Verdict
from protoleak.strict_json import json_bytes

ALPHA, SEED = 0.05, 27
CLASSES = ("real", "generator")
SHIFTS = (0.0, 0.25, 0.5, 1.0, 1.5)


def densities(random: np.random.Generator, second: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """float64 [n] log densities; of the second class where `second` says so."""
    score = random.standard_normal(len(second)) - shift
    return np.asarray(np.where(second, 40 + 3 * score, score))


def alarm(random: np.random.Generator, images: int, faces: int, shift: float, begins: int) -> int | None:
    """After how many faces since the drift began it is said; None where it is not.

    Args:
        images: of each class in the calibration.
        begins: faces before the drift; an alarm there counts as one at 0.
    """
    own = tuple(np.sort(densities(random, np.full(images, kind == 1), np.zeros(images))) for kind in range(2))
    monitor = DriftMonitor("", CLASSES, Calibration(np.sort(np.concatenate(own)), own, None), ALPHA)
    second = random.random(faces + begins) < 0.2
    for number, (kind, value) in enumerate(
        zip(second, densities(random, second, shift * (np.arange(faces + begins) >= begins)), strict=True), start=1
    ):
        face = SimpleNamespace(lacking=None, nearest=CLASSES[int(kind)], log_density=float(value))
        if monitor.take(cast("Verdict", face)) is not None:
            return max(0, number - begins)
    return None


def fixed_alarm(random: np.random.Generator, images: int, faces: int) -> bool:
    """Whether a source without drift is convicted by p-values among the calibration images alone."""
    reference, jumper = np.sort(random.standard_normal(images)), SimpleJumper()
    for score in random.standard_normal(faces):
        jumper.bet(float((np.searchsorted(reference, score) + random.random()) / (images + 1)))
        if jumper.log_wealth >= np.log(EVIDENCE):
            return True
    return False


def main() -> None:
    """Prints a table, and writes the figures where it is asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, default=200, help="simulated per row; five times as many without drift")
    parser.add_argument("--faces", type=int, default=300)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    print(f"evidence {EVIDENCE:.0f}:1 within {options.faces} faces; images of each class in the calibration")
    for images in (90, 400):
        for begins in (0, 200):
            for shift in SHIFTS if not begins else SHIFTS[2:]:
                random = np.random.default_rng([SEED, images, begins, round(100 * shift)])
                sources = options.sources * (1 if shift else 5)
                found = [alarm(random, images, options.faces, shift, begins) for _ in range(sources)]
                told = [delay for delay in found if delay is not None]
                quartiles = [float(one) for one in np.percentile(told, (25, 50, 75))] if shift and told else None
                row = {"images": images, "begins": begins, "shift": shift, "sources": sources}
                rows.append(row | {"alarms": len(told) / sources, "faces": quartiles})
                share = len(told) / sources
                print(f"  {images:4} images, drift of {shift:4} from face {begins:3}: {share:.4f} {quartiles}")
    random = np.random.default_rng(SEED)
    fixed = sum(fixed_alarm(random, 90, options.faces) for _ in range(options.sources)) / options.sources
    print(f"  fixed reference of 90, no drift: {fixed:.4f}")
    result = {
        "evidence": EVIDENCE,
        "faces": options.faces,
        "rows": rows,
        "fixed_reference_without_drift": fixed,
        "machine": describe_machine(),
    }
    if options.json is not None:
        write_whole(options.json, [json_bytes(result)])


if __name__ == "__main__":
    main()
