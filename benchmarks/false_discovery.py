"""Findings over a folder: the share of false ones, and how many of the images that differ are found.

    python benchmarks/false_discovery.py --json benchmarks/results/false_discovery.json

Folders are simulated: photographs like those of the calibration, and a share of images whose scores lie three standard
deviations lower; their p-values are ranks among the same n photographs. "Each alone" calls everything a finding whose
p-value is at most the level. Photographs of one camera are alike: in the last rows, they come in tens that share half
of their variance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from protoleak.environment.machine import describe_machine
from protoleak.files import write_whole
from protoleak.metrics.false_discovery import benjamini_hochberg
from protoleak.strict_json import json_bytes

LEVEL, ORIGINALS, IMAGES, SHIFT, SEED = 0.05, 1494, 500, 3.0, 27


def folder(random: np.random.Generator, differing: int, cluster: int) -> tuple[np.ndarray, np.ndarray]:
    """float64 [IMAGES] p-values, and bool [IMAGES]: which images differ."""
    originals = np.sort(random.standard_normal(ORIGINALS))
    score = random.standard_normal(IMAGES)
    if cluster > 1:
        shared = np.repeat(random.standard_normal(IMAGES // cluster), cluster)
        score = np.sqrt(0.5) * score + np.sqrt(0.5) * shared
    differs = np.arange(IMAGES) < differing
    score -= SHIFT * differs
    return (1 + np.searchsorted(originals, score, side="right")) / (ORIGINALS + 1), differs


def main() -> None:
    """Prints a table, and writes the figures where it is asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folders", type=int, default=2000, help="simulated per row")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    print(f"{IMAGES} images a folder, false discovery rate {LEVEL}: mean share of false findings, share that is found")
    for cluster in (1, 10):
        for differing in (0, 10, 50, 250):
            random = np.random.default_rng([SEED, cluster, differing])
            sums = np.zeros((2, 2))
            for _ in range(options.folders):
                p, differs = folder(random, differing, cluster)
                threshold = benjamini_hochberg(p, LEVEL, "a camera took this").threshold
                for rule, limit in enumerate((threshold or 0.0, LEVEL)):
                    found = p <= limit
                    sums[rule] += (
                        (found & ~differs).sum() / max(1, found.sum()),
                        found[differs].sum() / max(1, differing),
                    )
            row: dict[str, float] = {"differing": differing, "alike_in": cluster}
            for name, (false, power) in zip(("procedure", "each_alone"), sums / options.folders, strict=True):
                row |= {f"{name}_false": float(false), f"{name}_found": float(power)}
            rows.append(row)
            print("  " + ", ".join(f"{name} {value:.4g}" for name, value in row.items()))
    result = {
        "level": LEVEL,
        "originals": ORIGINALS,
        "images": IMAGES,
        "folders": options.folders,
        "rows": rows,
        "machine": describe_machine(),
    }
    if options.json is not None:
        write_whole(options.json, [json_bytes(result)])


if __name__ == "__main__":
    main()
