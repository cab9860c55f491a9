"""The real margins of images by networks that saw nothing of their source or generator.

A step of build.py, with the WORK that it has made so far:

    python tools/default_bundle/left_out.py --data DATA --work WORK --latent-encoder ENCODER --out WORK/left_out.npz \\
        --json benchmarks/results/left_out.json

Camera sources, then generators, take turns in being left out: a network is trained as in build.py without them, and
tells how camera-like it finds their images, as they are and altered. The calibration images' own margins are too
favourable for what training never saw; these are what `export` reads off when a generator may be named, and when `real`
may be said. Neither the photographs nor the generators that the bundle is measured on are looked at.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script, its own folder is there instead

from protoleak.arrays import Float64Array
from protoleak.environment.machine import describe_machine
from protoleak.faces.framer import Framer
from protoleak.faces.largest import LargestFace
from protoleak.files import cache_folder
from protoleak.model.checkpoint import TrainedModel, attributor_outputs, load_model
from protoleak.model.latent_cache import LatentItem, cached_latents
from protoleak.runtime.conformal import real_margin
from protoleak.training.train import DEFAULT_FACE_MODEL
from protoleak.training.views import view_sources
from tools.default_bundle.build import protoleak, train_options
from tools.default_bundle.sources import (
    CAMERAS,
    REAL,
    RECONSTRUCTED,
    Collection,
    auxiliary_to,
    files_of,
    known_to,
    link_all,
    link_known,
    link_once,
    without,
)

VIEWS = 2  # altered ones of each image, besides the image as it is
SEED = 1  # another one than that of the training views
CHUNK = 32
LEVELS = (0.005, 0.0075, 0.01, 0.015, 0.02, 0.03)
MOST_ACCUSED = 0.02  # of the photographs of a source that training never saw
ERRORS = 2.0  # standard errors over the sources that a level must leave room for: a one-sided 95 % bound


@dataclass(frozen=True)
class Turn:
    """What is left out together: generators, and camera sources by the name of their folder."""

    generators: tuple[str, ...]
    cameras: tuple[str, ...]

    @property
    def name(self) -> str:
        return "without_" + "_".join((*self.generators, *self.cameras))


CAMERAS_TOGETHER = (
    ("real-portraits",),
    ("real-headshots",),
    ("real-usgov-fellows",),
    ("real-usgov-cio", "real-govfr-eig"),
    ("real-bssw", "real-govca-cds"),
)


def main() -> None:
    arguments = parse_arguments()
    camera: dict[str, list[float]] = {}
    generated: dict[str, list[float]] = {}
    known, auxiliary = known_to(arguments.research), auxiliary_to(arguments.research)
    turns = turns_over(known)
    for turn in turns:
        model = trained_without(turn, known, auxiliary, arguments.data, arguments.work, arguments.latent_encoder)
        for collection in left_out(turn, known):
            margins = margins_of(model, files_of(arguments.data, collection))
            (camera if collection.label == REAL else generated).setdefault(collection.name, []).extend(margins)
            print(f"{turn.name}: {collection.name}: {summary(np.array(margins))}", flush=True)
    lists = {
        name: np.concatenate([np.array(margins) for margins in of.values()])
        for name, of in (("camera", camera), ("generated", generated))
    }
    np.savez(arguments.out, **lists)
    record = {
        "what": "quantiles of the real margins of images by networks that saw nothing of their source or generator",
        "turns": [[turn.generators, turn.cameras] for turn in turns],
        "views": VIEWS + 1,
        "commit": describe_machine().commit,
        "camera": {name: summary(np.array(margins)) for name, margins in camera.items()},
        "generated": {name: summary(np.array(margins)) for name, margins in generated.items()},
        "levels": levels(camera),
    }
    arguments.json.write_text(json.dumps(record, indent=1) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "work", "latent-encoder", "out", "json"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--research", action="store_true", help="as for build.py")
    return parser.parse_args()


def turns_over(known: Sequence[Collection]) -> list[Turn]:
    """Camera sources are left out beside all generators: with a rival less, photographs would look more camera-like."""
    turns = [Turn((), cameras) for cameras in CAMERAS_TOGETHER]
    return turns + [Turn((label,), ()) for label in dict.fromkeys(one.label for one in known)]


def left_out(turn: Turn, known: Sequence[Collection]) -> Iterator[Collection]:
    """The collections of a turn."""
    return (one for one in (*known, *CAMERAS) if one.label in turn.generators or one.name in turn.cameras)


def trained_without(
    turn: Turn,
    known: Sequence[Collection],
    auxiliary: Sequence[Collection],
    data: Path,
    work: Path,
    latent_encoder: Path,
) -> TrainedModel:
    """The network of a turn, trained as the bundle's own; its auxiliary images aren't made of what is left out."""
    place = work / "turns" / turn.name
    if not (place / "model" / "model.json").exists():
        link_known(data, without((*known, *CAMERAS), turn.generators, turn.cameras), place / "known")
        link_all(data, auxiliary, place / "auxiliary", ("train", "calibration"))
        names = {collection.name for collection in left_out(turn, known)}
        for folder in sorted((work / "auxiliary" / RECONSTRUCTED).iterdir()):
            for file in sorted(folder.iterdir() if folder.name not in names else ()):
                link_once(file, place / "auxiliary" / RECONSTRUCTED / folder.name / file.name)
        options = train_options(work, latent_encoder, place / "auxiliary")
        protoleak("train", place / "known", *options, "--out", place / "model", "--resume")
    return load_model(place / "model")


def margins_of(model: TrainedModel, files: list[Path]) -> list[float]:
    """Real margins of every readable image with a face, as it is and in VIEWS altered views."""
    framer = Framer(model.config.framing, LargestFace(DEFAULT_FACE_MODEL))
    sources = [view for file in files for view in view_sources(file, VIEWS, SEED, framer, 0.0)]
    items = [LatentItem(source.key, source) for source in sources]
    latents = cached_latents(model.latent_encoder, items, cache_folder("latents")).latents
    assert model.config.real_class is not None
    real = model.config.generators.index(model.config.real_class)
    margins: list[float] = []
    for start in range(0, len(latents), CHUNK):
        z0 = model.config.standardised(latents[start : start + CHUNK]).reshape(-1, *model.config.latent_shape)
        scores = attributor_outputs(model, model.config.noised(z0))["class_score"]
        margins += real_margin(scores, real).tolist()
    return margins


def levels(camera: dict[str, list[float]]) -> list[dict[str, float]]:
    """What accusing at each level of all margins together does to the sources: the mean share over them, and its
    standard error. The greatest whose mean and ERRORS standard errors together keep to MOST_ACCUSED is `chosen`."""
    together = np.concatenate([np.array(margins) for margins in camera.values()])
    found = []
    for level in LEVELS:
        threshold = float(np.quantile(together, level))
        shares = np.array([(np.array(margins) <= threshold).mean() for margins in camera.values()])
        error = float(shares.std(ddof=1) / np.sqrt(len(shares)))
        found.append({"level": level, "mean": round(float(shares.mean()), 4), "standard_error": round(error, 4)})
    within = [row["level"] for row in found if row["mean"] + ERRORS * row["standard_error"] <= MOST_ACCUSED]
    chosen = max(within, default=LEVELS[0])
    return [{**row, "chosen": row["level"] == chosen} for row in found]


def summary(margins: npt.NDArray[np.float64]) -> dict[str, float]:
    """How many, how many are negative (nearest to a generator), and quantiles."""
    shares: Float64Array = np.quantile(margins, (0.01, 0.05, 0.5, 0.95))
    names = ("quantile_0.01", "quantile_0.05", "median", "quantile_0.95")
    quantiles = {name: round(float(value), 3) for name, value in zip(names, shares, strict=True)}
    return {"views": len(margins), "negative": round(float((margins < 0).mean()), 3), **quantiles}


if __name__ == "__main__":
    main()
