"""Makes the zoo's bundle: encoder, network, open-set settings, bundle, evaluation. The ablations are run on it.

    pip install ".[dev]"
    python zoo/build.py … --out ZOO        # see there
    python benchmarks/zoo_bundle/build.py --zoo ZOO --data DATA --teacher WEIGHTS/taef2_encoder.onnx --work WORK \\
        --face-detector WEIGHTS/face_detection_yunet_2026may.onnx --out BUNDLE --results RESULTS

Every step keeps its result in WORK and is skipped when it is there, so an interrupted build goes on where it stopped.
Steps that the project has a command for call that command.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script, its own folder is there instead

from protoleak import load
from zoo.generators import REAL
from zoo.inputs import read_sources
from zoo.settings import ZooSettings
from zoo.sources import Source

# The zoo's known generators, less one: the tiny autoencoder gives photographs back so well that a first bundle which
# knew it named it for 30 of 40 real faces. A bundle must not name a generator that it can't tell from a camera: it is
# learnt as an auxiliary, so that it is told apart as far as that goes.
NEVER_NAMED, NEVER_NAMED_FILE = "flux2_tae", "never_named.json"
# Cameras and a large model give images of any size, and zoo crops of 256² are one: these classes get the published
# files as well, or all that is larger than a crop looks strange to them.
ORIGINALS = (REAL, "stable_diffusion_3")
OPEN_SET_FILE = "open_set.json"
DISTILL_OPTIONS = ("--student", "3g", "--views", "1", "--operator-share", "0.5", "--window", "128", "--epochs", "40")
TRAIN_OPTIONS = ("--views", "2", "--epochs", "16", "--timesteps", "0,100,300")
EXPORT_OPTIONS = ("--head", "tied_gaussian")


def main() -> None:
    arguments = parse_arguments()
    zoo, work = arguments.zoo, arguments.work
    started = time.monotonic()
    link_known(zoo, read_sources(arguments.data, ZooSettings()), work / "known")
    link_auxiliary(zoo, work / "auxiliary")
    link_unknown(zoo, work / "unknown")
    link_once(zoo / "negatives", work / "negatives")
    link_images(distillation_images(work), work / "distillation")
    if not (work / "encoder" / "distillation.json").exists():
        options = ("--teacher", arguments.teacher, "--data", work / "distillation", "--out", work / "encoder")
        protoleak("distill", *options, *DISTILL_OPTIONS, "--resume")
    if not (work / "model" / "model.json").exists():
        folders = ("--latent-encoder", work / "encoder", "--out", work / "model", "--negatives", work / "negatives")
        protoleak(
            "train",
            work / "known",
            *folders,
            "--auxiliary",
            work / "auxiliary",
            "--real-class",
            REAL,
            *TRAIN_OPTIONS,
            "--resume",
        )
    if not (work / OPEN_SET_FILE).exists():
        script = Path(__file__).with_name("open_set.py")
        run(script, "--work", work, "--out", work / "open_set", "--json", work / OPEN_SET_FILE)
    shutil.copyfile(work / OPEN_SET_FILE, arguments.results / OPEN_SET_FILE)
    chosen = json.loads((work / OPEN_SET_FILE).read_text())["chosen"]
    settings = work / "export.toml"
    settings.write_text(f"bandwidth = {chosen['bandwidth']}\ncontrast = {chosen['contrast']}\n")
    photographs = arguments.data / "real-faces"
    measured_on = ("--data", work / "known", "--unknown", work / "unknown")
    protoleak(
        *("export", work / "model", *measured_on, "--photographs", photographs),
        *("--auxiliary", work / "auxiliary", "--settings", settings),
        *("--out", arguments.out, "--name", "zoo", *EXPORT_OPTIONS),
        *("--face-detector", arguments.face_detector),
    )
    protoleak(
        *("evaluate", arguments.out, *measured_on, "--photographs", photographs),
        *("--json", arguments.results / "evaluate_zoo_bundle.json", "--html", work / "evaluation.html"),
    )
    screen_never_named(zoo, arguments.out, arguments.results)
    print(f"built in {(time.monotonic() - started) / 60:.0f} minutes")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("zoo", "data", "teacher", "face-detector", "work", "out", "results"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


def protoleak(*arguments: object) -> None:
    """Runs one of the project's own commands and stops where it fails."""
    run("-m", "protoleak", *arguments)


def run(*arguments: object) -> None:
    """Runs Python and stops where it fails."""
    command = [sys.executable, *map(str, arguments)]
    print("+ " + " ".join(command[1:]), flush=True)
    subprocess.run(command, check=True)


def distillation_images(work: Path) -> list[Path]:
    """All that training sees, with labels or without. No unknown generator is among it."""
    split: dict[str, list[str]] = json.loads((work / "known" / "Split.json").read_text())["train"]
    known = [work / "known" / generator / name for generator in sorted(split) for name in sorted(split[generator])]
    return known + sorted((work / "auxiliary").glob("*/*")) + sorted((work / "negatives").iterdir())


def link_images(images: list[Path], folder: Path) -> None:
    """A folder of links to the images, named by folder and file so that none hides another."""
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        link_once(image, folder / f"{image.parent.name}_{image.name}")


def link_known(zoo: Path, sources: Sequence[Source], folder: Path) -> None:
    """The classes of the bundle with their splits. An original has the name of its crop and another suffix, so that the
    two count as one source."""
    split: dict[str, dict[str, list[str]]] = json.loads((zoo / "known" / "Split.json").read_text())
    kept = {
        part: {name: list(files) for name, files in of.items() if name != NEVER_NAMED} for part, of in split.items()
    }
    for generator in kept["train"]:
        (folder / generator).mkdir(parents=True, exist_ok=True)
        for part in kept.values():
            for name in part[generator]:
                link_once(zoo / "known" / generator / name, folder / generator / name)
    for generator in ORIGINALS:
        for source in sources:
            if f"{source.name}.jpg" in kept[source.split][generator]:
                kept[source.split][generator].append(f"{source.name}.jpeg")
                link_once(source.path, folder / generator / f"{source.name}.jpeg")
    (folder / "Split.json").write_text(json.dumps(kept, indent=1) + "\n")


def link_auxiliary(zoo: Path, folder: Path) -> None:
    """What the network learns and the bundle never names: the zoo's siblings, and one generator's training split."""
    folder.mkdir(parents=True, exist_ok=True)
    for sibling in sorted((zoo / "auxiliary").iterdir()):
        link_once(sibling, folder / sibling.name)
    split: dict[str, list[str]] = json.loads((zoo / "known" / "Split.json").read_text())["train"]
    (folder / NEVER_NAMED).mkdir(exist_ok=True)
    for name in split[NEVER_NAMED]:
        link_once(zoo / "known" / NEVER_NAMED / name, folder / NEVER_NAMED / name)


def link_unknown(zoo: Path, folder: Path) -> None:
    """The test split of generators that the bundle doesn't know: the content of their other images was seen in
    training, through those that it knows."""
    split: dict[str, list[str]] = json.loads((zoo / "unknown" / "Split.json").read_text())["test"]
    for generator, names in split.items():
        (folder / generator).mkdir(parents=True, exist_ok=True)
        for name in names:
            link_once(zoo / "unknown" / generator / name, folder / generator / name)


def screen_never_named(zoo: Path, bundle: Path, results: Path) -> None:
    """What the bundle says of the generator that it learnt and doesn't name: counts of verdicts on its test split."""
    split: dict[str, list[str]] = json.loads((zoo / "known" / "Split.json").read_text())["test"]
    verdicts = load(bundle)([zoo / "known" / NEVER_NAMED / name for name in split[NEVER_NAMED]])
    counts = Counter(verdict.generator or verdict.label for verdict in verdicts)
    (results / NEVER_NAMED_FILE).write_text(json.dumps(dict(sorted(counts.items())), indent=1) + "\n")


def link_once(target: Path, link: Path) -> None:
    """A symbolic link, unless it is there."""
    if not link.is_symlink():
        link.symlink_to(target.resolve())


if __name__ == "__main__":
    main()
