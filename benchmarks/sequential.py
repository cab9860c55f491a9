"""Rules that merge the p-values of a track's faces: how often each accuses a track of camera originals and names one
of a generator, at the same bound, and after how many faces.

    python benchmarks/sequential.py --json benchmarks/results/sequential.json
    python benchmarks/sequential.py --videos OUT/verdicts.jsonl

Faces are simulated: a normal score whose p-value is its rank among n camera originals. Those of a track share what is
common to it, or follow one another; a generator's lie some standard deviations lower, and a share of its faces
(blurred, turned away) say nothing. `--videos` reads what `protoleak screen VIDEO --out OUT` wrote of real people
instead.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from protoleak.environment.machine import describe_machine
from protoleak.files import write_whole
from protoleak.metrics.merging import e_value, weight
from protoleak.strict_json import json_bytes

LEVEL, ORIGINALS = 0.01, 1494  # α/5, where a bundle says no other; camera originals as in the default bundle
FACES, MINIMUM = 30, 3
SEED = 27
DEPENDENCE = {"independent": ("common", 0.0), "alike": ("common", 0.9), "in sequence": ("sequence", 0.9)}
TRACKS = {
    "camera": (0.0, 0.0),
    "generator": (3.0, 0.0),
    "generator, 1 face in 10 says nothing": (3.0, 0.1),
    "strong": (4.0, 0.0),
    "strong, 1 face in 5 says nothing": (4.0, 0.2),
}
Rules = dict[str, np.ndarray]


def p_values(
    random: np.random.Generator, kind: str, correlation: float, shift: float, silent: float, n: int
) -> np.ndarray:
    """float64 [n, FACES]."""
    own = random.standard_normal((n, FACES))
    if kind == "common":
        score = np.sqrt(correlation) * random.standard_normal((n, 1)) + np.sqrt(1 - correlation) * own
    else:
        score = own
        for face in range(1, FACES):
            score[:, face] = correlation * score[:, face - 1] + np.sqrt(1 - correlation**2) * own[:, face]
    score = np.where(random.random((n, FACES)) < silent, random.standard_normal((n, FACES)), score - shift)
    originals = np.sort(random.standard_normal((n, ORIGINALS)), axis=1)
    ranks = np.array([np.searchsorted(row, values, side="right") for row, values in zip(originals, score, strict=True)])
    return (1 + ranks) / (ORIGINALS + 1)


def rejects(p: np.ndarray, level: float) -> Rules:
    """bool [n, faces] per rule: whether it rejects with the faces up to each."""
    count = np.arange(1, p.shape[1] + 1)
    e_values = np.vectorize(e_value)(p, level)
    weights = np.array([weight(number) for number in count])
    return {
        "twice the mean": 2 * np.cumsum(p, axis=1) / count <= level,
        "merged p-value": np.cumsum(e_values, axis=1) / count >= 1 / level,
        "e-value": np.cumsum(weights * e_values, axis=1) >= 1 / level,
        "mean of 1/(2√p)": np.cumsum(0.5 / np.sqrt(p), axis=1) / count >= 1 / level,
        "product of 1/(2√p)": np.cumsum(np.log(0.5 / np.sqrt(p)), axis=1) >= np.log(1 / level),
    }


def figures(rejected: np.ndarray) -> dict[str, float | None]:
    """Of one rule: at the last face, at any from the minimum on, and faces until then, of tracks that it ever
    rejects."""
    read = rejected[:, MINIMUM - 1 :]
    ever = read.any(axis=1)
    return {
        "last": float(rejected[:, -1].mean()),
        "ever": float(ever.mean()),
        "faces": float(np.median(read[ever].argmax(axis=1) + MINIMUM)) if ever.mean() > 0.01 else None,
    }


def blocks(outcomes: int = 10_000, stretch: int = 70) -> dict[str, float]:
    """Dependence against a running mean: blocks of faces, each seven times as long as all before, in each of which
    another 0.7 % of the outcomes have the smallest p-values. Exact: shares of all outcomes that are ever rejected."""
    mean, e_sum, faces = np.zeros(outcomes), np.zeros(outcomes), 0
    of_mean, of_sum = np.zeros(outcomes, bool), np.zeros(outcomes, bool)
    for block in range(6):
        ranks = np.roll(np.arange(1, outcomes + 1), block * stretch)
        one = np.vectorize(e_value)(ranks / outcomes, LEVEL)
        turning = slice(block * stretch, (block + 1) * stretch)
        one[turning] = one[turning].mean()
        length = max(stretch, 7 * faces)
        e_sum += one * sum(weight(number) for number in range(faces + 1, faces + length + 1))
        mean += length * one
        faces += length
        of_mean |= mean / faces >= 1 / LEVEL
        of_sum |= e_sum >= 1 / LEVEL
    return {"merged p-value": float(of_mean.mean()), "e-value": float(of_sum.mean())}


def videos(path: Path) -> dict[str, dict[str, int]]:
    """Level → tracks of real people, and how many each rule accuses, at the last face and at any."""
    tracks: dict[tuple[str, int], list[float]] = defaultdict(list)
    for line in path.read_text().splitlines():
        face = json.loads(line)
        if face["verdict"]["lacking"] is None:
            tracks[face["source"], face["track"]].append(face["verdict"]["real_p_value"])
    decided = [np.array([track]) for track in tracks.values() if len(track) >= MINIMUM]
    found = {}
    for level in (LEVEL, 2 * LEVEL, 5 * LEVEL):
        counts = {"tracks": len(decided), "faces": sum(track.size for track in decided)}
        counts["faces accused"] = int(sum((track <= level).sum() for track in decided))
        for rule in ("twice the mean", "merged p-value", "e-value"):
            of_rule = [rejects(track, level)[rule] for track in decided]
            counts[rule] = int(sum(rejected[0, -1] for rejected in of_rule))
            counts[f"{rule}, ever"] = int(sum(rejected[0, MINIMUM - 1 :].any() for rejected in of_rule))
        found[f"{level:g}"] = counts
    return found


def main() -> None:
    """Prints a table, and writes the figures where it is asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=2000, help="of each kind")
    parser.add_argument("--videos", type=Path, help="verdicts.jsonl of videos of real people")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    random = np.random.default_rng(SEED)
    simulated: dict[str, dict[str, dict[str, dict[str, float | None]]]] = {}
    print(f"level {LEVEL}, {ORIGINALS} originals, {FACES} faces, verdicts from {MINIMUM} faces on")
    for dependence, (kind, correlation) in DEPENDENCE.items():
        for name, (shift, silent) in TRACKS.items():
            p = p_values(random, kind, correlation, shift, silent, options.tracks)
            row = {rule: figures(rejected) for rule, rejected in rejects(p, LEVEL).items()}
            simulated.setdefault(dependence, {})[name] = row
            print(f"\n{dependence}: {name}")
            for rule, one in row.items():
                faces = "–" if one["faces"] is None else f"{one['faces']:.0f}"
                print(f"  {rule:20} last {one['last']:.4f}  ever {one['ever']:.4f}  faces {faces}")
    against = blocks()
    print(f"\nblocks against a running mean, ever: {against}")
    result = {
        "level": LEVEL,
        "originals": ORIGINALS,
        "faces": FACES,
        "tracks": options.tracks,
        "simulated": simulated,
        "blocks": against,
        "machine": describe_machine(),
    }
    if options.videos is not None:
        result["videos"] = videos(options.videos)
        print(f"\nvideos: {json.dumps(result['videos'], indent=1)}")
    if options.json is not None:
        write_whole(options.json, [json_bytes(result)])


if __name__ == "__main__":
    main()
