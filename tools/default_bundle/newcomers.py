"""Leave one generator out: what a bundle that was trained without it knows once it was enrolled from a few images.

After build.py, with its WORK (whose `turns` left_out.py trained, each without one generator):

    python tools/default_bundle/newcomers.py --data DATA --work WORK --latent-encoder ENCODER \\
        --json benchmarks/results/newcomers.json

Each generator is enrolled, by what `protoleak enrol` calls, from 20, 40 and 80 of its images of the parts train, val
and calibration, in DRAWS random choices; everything is measured on the part test, on photographs of sources that no
network saw and on generators that stay unknown. Rows "with photographs" are those of `--photographs`: half of the
photographs, drawn each time, help to choose the offset, and those accused are of the other half; else nothing helps but
the bundle's own record. The last row of a generator is the network that was trained with it. Networks run in PyTorch,
so that no bundle is exported for each.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script, its own folder is there instead

from protoleak.bundle.calibration import Calibration
from protoleak.bundle.class_statistics import ClassStatistics
from protoleak.bundle.enrolment import ScoreConstants
from protoleak.calibration.class_statistics import fit_class_statistics
from protoleak.calibration.conformal_fit import LeftOutMargins, calibrate
from protoleak.calibration.posterior import PosteriorDensity
from protoleak.cli.settings_file import read_settings
from protoleak.enrolment.fit import Setting, fit
from protoleak.enrolment.judging import accused, judged
from protoleak.enrolment.rows import Rows
from protoleak.environment.machine import describe_machine
from protoleak.export.features import Features, network_features
from protoleak.export.settings import ExportSettings
from protoleak.faces.framer import Framer
from protoleak.faces.largest import LargestFace
from protoleak.files import cache_folder
from protoleak.metrics.classes import Classes
from protoleak.model.checkpoint import TrainedModel, load_model
from protoleak.training.train import DEFAULT_FACE_MODEL
from tools.default_bundle.left_out import Turn, trained_without
from tools.default_bundle.sources import CAMERAS, PHOTOGRAPHS, REAL, UNKNOWN, auxiliary_to, files_of, known_to, parts_of

COUNTS, DRAWS = (20, 40, 80), 5
ALPHA = 0.05
HARM = 0.02


@dataclass(frozen=True)
class Images:
    """Every image that plays a part, with its class, and its part: that of a known collection, "photographs" or
    "unknown"."""

    paths: tuple[Path, ...]
    names: npt.NDArray[np.str_]
    parts: npt.NDArray[np.str_]

    @classmethod
    def of(cls, data: Path, research: bool) -> Images:
        rows = [
            (file, one.label, str(part))
            for one in (*known_to(research), *CAMERAS)
            for file, part in parts_of(data, one).items()
        ]
        labels = {one.label for one in known_to(research)}
        rows += [(file, one.label, "photographs") for one in PHOTOGRAPHS for file in files_of(data, one)]
        rows += [
            (file, one.label, "unknown") for one in UNKNOWN if one.label not in labels for file in files_of(data, one)
        ]
        paths, names, parts = zip(*rows, strict=True)
        return cls(paths, np.array(names), np.array(parts))

    def chosen(self, rows: npt.NDArray[np.int64]) -> Images:
        return Images(tuple(self.paths[row] for row in rows), self.names[rows], self.parts[rows])


@dataclass(frozen=True)
class Network:
    """A network as the bundle that `export` would make of it: all images with its scores, and its calibration."""

    images: Images
    rows: Rows
    classes: Classes
    calibration: Calibration
    constants: ScoreConstants
    statistics: ClassStatistics

    @classmethod
    def of(cls, model: TrainedModel, images: Images, left_out: LeftOutMargins, share: float) -> Network:
        names = model.config.generators
        framer = Framer(model.config.framing, LargestFace(DEFAULT_FACE_MODEL))
        found = network_features(model, images.paths, np.arange(len(images.paths)), framer, cache_folder("latents"))
        images = images.chosen(found.labels)
        labels = np.array([names.index(name) if name in names else -1 for name in images.names])
        train = (images.parts == "train") & (labels >= 0)
        network = model.attributor
        density = PosteriorDensity.fit(
            *(network.prototypes.detach().numpy(), network.auxiliary_prototypes.numpy(), network.temperature),
            *(found.embedding[train], found.gate[train]),
        )
        statistics = fit_class_statistics(*(found.statistics[train], found.embedding[train], labels[train], len(names)))
        rows = _rows(found, density, statistics, labels, len(names))
        calibrating = rows.chosen((images.parts == "calibration") & (labels >= 0))
        calibration = calibrate(
            *(calibrating.log_density, calibrating.scores, names, None, calibrating.labels, REAL, left_out, share)
        )
        constants = ScoreConstants(density.temperature, density.floor)
        return cls(images, rows, Classes.of(names, REAL), calibration, constants, statistics)

    def setting(self, helping: npt.NDArray[np.int64]) -> Setting:
        """What a generator is added to.

        Args:
            helping: photographs that the offset is chosen with.
        """
        return Setting(
            rows=self.rows.chosen((self.images.parts == "calibration") & (self.rows.labels >= 0)),
            photographs=self.rows.chosen(helping),
            classes=self.classes,
            constants=self.constants,
            statistics=self.statistics,
            enrolled=(),
            calibration=self.calibration,
            own_margins=False,
            accusation_bound=None,
            alpha=ALPHA,
            slots=6,
            harm=HARM,
        )


def main() -> None:
    arguments = parse_arguments()
    known, work = known_to(arguments.research), arguments.work
    images = Images.of(arguments.data, arguments.research)
    left_out = LeftOutMargins.read(work / "left_out.npz")
    share = read_settings(work / "export.toml", ExportSettings).accusation_share
    full = Network.of(load_model(work / "model"), images, left_out, share)
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(one.label for one in known):
        turn = Turn((name,), ())
        model = trained_without(
            turn, known, auxiliary_to(arguments.research), arguments.data, work, arguments.latent_encoder
        )
        without = Network.of(model, images, left_out, share)
        rows += enrolled_from(without, name)
        said = judged(full.rows, full.classes, full.calibration, ALPHA)
        every = full.images.parts == "photographs"
        of_full = figures(full, full.rows, full.classes, said, name, every)
        rows.append({"generator": name, "images": "full training"} | of_full)
        for row in (row for row in rows if row["generator"] == name):
            print(json.dumps(row), flush=True)
    result = {
        "what": "a generator enrolled by a network that was trained without it, beside full training; means over draws",
        "draws": DRAWS,
        "of": sizes(full, [row["generator"] for row in rows]),
        "rows": rows,
        "commit": describe_machine().commit,
    }
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "work", "latent-encoder", "json"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--research", action="store_true", help="as for build.py")
    return parser.parse_args()


def enrolled_from(network: Network, name: str) -> list[dict[str, Any]]:
    """A row before, and two for each number of images that the generator has."""
    images, photographs = network.images, network.images.parts == "photographs"
    before = judged(network.rows, network.classes, network.calibration, ALPHA)
    accused_before = accused(before, network.classes)
    nothing = {"generator": name, "images": 0}
    found = [nothing | figures(network, network.rows, network.classes, before, name, photographs)]
    own = np.flatnonzero((images.names == name) & np.isin(images.parts, ("train", "val", "calibration")))
    for count, helped in product(COUNTS, (False, True)):
        if count > len(own):
            continue
        drawn: list[dict[str, float]] = []
        for draw in range(DRAWS):
            random = np.random.default_rng(draw)
            chosen, shuffled = random.permutation(own)[:count], random.permutation(np.flatnonzero(photographs))
            helping = shuffled[: len(shuffled) // 2 if helped else 0]
            measured = photographs.copy()
            measured[helping] = False
            fitted = fit(network.rows.chosen(chosen), network.setting(helping), name)
            rows, classes = fitted.extended(network.rows, network.constants), network.classes.with_one_more(name)
            said = judged(rows, classes, fitted.calibration, ALPHA)
            of_draw = figures(network, rows, classes, said, name, measured)
            drawn.append(of_draw | {"photographs_accused_before": float(accused_before[measured].sum())})
        means = {key: round(float(np.mean([one[key] for one in drawn])), 4) for key in drawn[0]}
        found.append({"generator": name, "images": count, "with_photographs": helped} | means)
    return found


def figures(
    network: Network,
    rows: Rows,
    classes: Classes,
    said: npt.NDArray[np.int64],
    generator: str,
    photographs: npt.NDArray[np.bool_],
) -> dict[str, float]:
    """Numbers of images: of the generator that are named, of the others that are named rightly, of photographs and
    camera originals that are accused, of unknown generators that are called it; and how well its margin tells its test
    images from those of all others and photographs."""
    images = network.images
    called = np.array([*classes.names, "unknown"])[said]
    test, own = images.parts == "test", images.names == generator
    others = test & ~own & (images.names != REAL)
    given = accused(said, classes)
    found = {
        "named": float((called == generator)[test & own].sum()),
        "others_named": float((called == images.names)[others].sum()),
        "photographs_accused": float(given[photographs].sum()),
        "cameras_accused": float(given[test & (images.names == REAL)].sum()),
        "unknown_called_it": float((called == generator)[images.parts == "unknown"].sum()),
    }
    if generator in classes.names:
        column = classes.names.index(generator)
        margin = rows.scores[:, column] - np.delete(rows.scores, column, axis=1).max(axis=1)
        above = margin[test & own][:, None] - margin[(test & ~own) | photographs][None]
        found["auroc"] = round(float((above > 0).mean() + 0.5 * (above == 0).mean()), 4)
    return found


def sizes(network: Network, generators: Sequence[str]) -> dict[str, Any]:
    """How many images each number is of."""
    images = network.images
    test = images.parts == "test"
    return {
        "named": {name: int((test & (images.names == name)).sum()) for name in dict.fromkeys(generators)},
        "others_named": "the test images of the other generators",
        "photographs_accused": "of 100, or with photographs of the 50 others",
        "cameras_accused": int((test & (images.names == REAL)).sum()),
        "unknown_called_it": int((images.parts == "unknown").sum()),
    }


def _rows(
    found: Features,
    density: PosteriorDensity,
    statistics: ClassStatistics,
    labels: npt.NDArray[np.int64],
    classes: int,
) -> Rows:
    return Rows(
        embedding=found.embedding.astype(np.float16),
        gate=found.gate.astype(np.float16),
        features=statistics.features(found.statistics, found.embedding),
        scores=density.scores(found.embedding, found.gate)[:, :classes],
        log_density=density.log_density(found.embedding, found.gate),
        labels=labels,
    )


if __name__ == "__main__":
    main()
