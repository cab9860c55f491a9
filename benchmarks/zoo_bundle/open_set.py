"""Chooses the bandwidth and the contrast of the zoo bundle's open-set density without its unknown generators.

A step of build.py, with the WORK that it has made so far:

    python benchmarks/zoo_bundle/open_set.py --work WORK --out WORK/open_set --json WORK/open_set.json

Known generators take turns as the unknown one: a network is trained as in build.py without one of them and its
siblings, and every pair of settings is measured on what that network tells of the validation split: AUROC of the
generators that it knows against the one left out. Neither the unknown generators nor the test split is looked at. The
pair of the greatest mean is what build.py exports with.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script, its own folder is there instead

from benchmarks.zoo_bundle.build import TRAIN_OPTIONS, link_once, protoleak
from protoleak.calibration.density import fit_density
from protoleak.dataset import read_dataset
from protoleak.environment.machine import describe_machine
from protoleak.export.features import Features, network_features
from protoleak.export.images import auxiliary_generators
from protoleak.faces.framer import Framer
from protoleak.files import cache_folder, write_whole
from protoleak.model.checkpoint import load_model
from protoleak.strict_json import json_bytes
from zoo.generators import REAL, families

BANDWIDTHS = (0.125, 0.5, 1.0, 1.5, 2.0, 3.0)  # in median neighbour distances; the first is near the likeliest
CONTRASTS = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)


@dataclass(frozen=True)
class Turn:
    """What a network that doesn't know one generator gives.

    Attributes:
        train, validation: of the generators that it knows.
        auxiliary: of the auxiliary generators that it learnt.
        left_out: the validation images of the generator that it doesn't know.
    """

    train: Features
    validation: Features
    auxiliary: Features
    left_out: Features


def main() -> None:
    arguments = parse_arguments()
    aurocs: dict[str, list[list[float]]] = {}
    for known, siblings in families().items():
        place = arguments.out / known
        link_without(arguments.work, known, siblings, place)
        if not (place / "model" / "model.json").exists():
            options = ("--latent-encoder", arguments.work / "encoder", "--negatives", arguments.work / "negatives")
            places = ("--auxiliary", place / "auxiliary", "--out", place / "model")
            protoleak("train", place / "known", *options, *places, "--real-class", REAL, *TRAIN_OPTIONS, "--resume")
        aurocs[known] = [list(row) for row in measured(features(place, arguments.work, known))]
        print(f"without {known}:\n{np.round(aurocs[known], 3)}", flush=True)
    mean = np.mean(list(aurocs.values()), axis=0)
    best = np.unravel_index(np.argmax(mean), mean.shape)
    print(f"mean:\n{np.round(mean, 3)}\nchosen: {BANDWIDTHS[best[0]]}, {CONTRASTS[best[1]]}")
    record: dict[str, Any] = {
        "what": "AUROC of known against the generator left out, on the validation split: a row per bandwidth, a column "
        "per contrast",
        "training": TRAIN_OPTIONS,
        "commit": describe_machine().commit,
        "bandwidths": BANDWIDTHS,
        "contrasts": CONTRASTS,
        "mean": mean.tolist(),
        "left_out": aurocs,
        "chosen": {"bandwidth": BANDWIDTHS[best[0]], "contrast": CONTRASTS[best[1]]},
    }
    write_whole(arguments.json, [json_bytes(record)])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="that of build.py")
    parser.add_argument("--out", type=Path, required=True, help="links and models")
    parser.add_argument("--json", type=Path, required=True)
    return parser.parse_args()


def link_without(work: Path, known: str, siblings: tuple[str, ...], place: Path) -> None:
    """The classes and auxiliary generators of the recipe without one generator and its siblings."""
    split: dict[str, dict[str, list[str]]] = json.loads((work / "known" / "Split.json").read_text())
    kept = {part: {name: files for name, files in of.items() if name != known} for part, of in split.items()}
    for folder in ("known", "auxiliary"):
        (place / folder).mkdir(parents=True, exist_ok=True)
        for generator in sorted((work / folder).iterdir()):
            if generator.is_dir() and generator.name not in (known, *siblings):
                link_once(generator, place / folder / generator.name)
    (place / "known" / "Split.json").write_text(json.dumps(kept, indent=1) + "\n")


def features(place: Path, work: Path, known: str) -> Turn:
    """What the network in `place` gives; `known` is the generator that it was trained without."""
    model = load_model(place / "model")
    dataset = read_dataset(place / "known", REAL)
    split = json.loads((work / "known" / "Split.json").read_text())["val"]

    def of(paths: list[Path], labels: list[int] | None = None) -> Features:
        whose = np.array(labels or [0] * len(paths), dtype=np.int64)
        return network_features(model, paths, whose, Framer(model.config.framing), cache_folder("latents"))

    return Turn(
        of([sample.path for sample in dataset.train], [sample.label for sample in dataset.train]),
        of([sample.path for sample in dataset.validation], [sample.label for sample in dataset.validation]),
        of(list(auxiliary_generators(place / "auxiliary", dataset).paths)),
        of([work / "known" / known / name for name in split[known]]),
    )


def measured(turn: Turn) -> Iterator[Iterator[float]]:
    """AUROC per bandwidth and contrast."""
    known, unknown = turn.validation, turn.left_out
    truth = np.concatenate([np.ones(len(known.labels)), np.zeros(len(unknown.labels))])

    def auroc(bandwidth: float, contrast: float) -> float:
        density = fit_density(
            *(turn.train.embedding, turn.train.gate, turn.train.labels),
            *(known.embedding, known.gate),
            bandwidth=bandwidth,
            auxiliary=(turn.auxiliary.embedding, turn.auxiliary.gate),
            contrast=contrast,
        )
        scores = [density.log_density(images.embedding, images.gate) for images in (known, unknown)]
        return float(roc_auc_score(truth, np.concatenate(scores)))

    for bandwidth in BANDWIDTHS:
        yield (auroc(bandwidth, contrast) for contrast in CONTRASTS)


if __name__ == "__main__":
    main()
