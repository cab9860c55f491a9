"""Rebuilds the default bundle from its data: latent encoder, network, margins, bundle, evaluation.

    pip install ".[dev]"
    python tools/default_bundle/build.py --data DATA --weights WEIGHTS --work WORK \\
        --out protoleak/default_bundle --results benchmarks/results
    python tools/default_bundle/model_card.py && python tools/readme_tables.py

`DATA` is a folder as `sources.py` lists it; WEIGHTS one with the ONNX files of YuNet and of a tiny autoencoder, whose
encoder is the teacher of the light one. `--latent-encoder` takes another in the place of distilling it: what `protoleak
distill` wrote, or that of a bundle (`variants/fp32/latent_encoder.onnx`, with `--input-range 0,255`). Every step keeps
its result in WORK and is skipped when it is there, so an interrupted build goes on where it stopped. Steps that the
project has a command for call that command. `--research` also names the generators whose rights forbid shipping: give
it another --out and --results.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script, its own folder is there instead

from protoleak.distillation.run import REPORT_FILE
from tools.default_bundle.sources import (
    CAMERAS,
    PHOTOGRAPHS,
    REAL,
    RECONSTRUCTED,
    RESEARCH,
    UNKNOWN,
    auxiliary_to,
    known_to,
    link_all,
    link_known,
    without,
)

EPOCHS = 12
ALPHA = 0.05
FACE_DETECTOR = "face_detection_yunet_2026may.onnx"
TEACHER = "taef2_encoder.onnx"
DISTILL_OPTIONS = (
    *("--student", "1g", "--looks", "face,native,image", "--views", 3, "--operator-share", 0.5),
    *("--window", 128, "--epochs", 20),
)
OPERATOR_IMAGES = 8  # of each class, unknown generator and of the photographs
SETTINGS = """backbone = "second_order"
solver = "both"
prototype_spread = 0.3
looks = ["face", "native", "image"]
timesteps = [0, 100, 300]
low_frequency_components = "none"
equal_amplitudes = true
standardise = true
real_turns = 5
views = 8
validation_views = 2
batch_size = 192
learning_rate = 0.002
weight_decay = 0.1
label_smoothing = 0.1
balanced_views = true
timestep_dropout = 0.33
entropy_weight = 0.02
mixed_share = 0.25
negatives_weight = 0.15
keep = "last"
"""


def main() -> None:
    arguments = parse_arguments()
    data, work = arguments.data, arguments.work
    started = time.monotonic()
    work.mkdir(parents=True, exist_ok=True)
    named = RESEARCH if arguments.research else ()
    link_known(data, (*known_to(arguments.research), *CAMERAS), work / "known")
    link_all(data, auxiliary_to(arguments.research), work / "auxiliary", ("train", "calibration"))
    run(
        *(Path(__file__).with_name("reconstructions.py"), "--data", data, "--out", work / "auxiliary" / RECONSTRUCTED),
        *("--encoder", arguments.weights / TEACHER, "--decoder", arguments.weights / "taef2_decoder.onnx"),
    )
    link_all(data, without(UNKNOWN, named, ()), work / "unknown")
    link_all(data, auxiliary_to(arguments.research), work / "unknown", ("val", "test"))
    link_all(data, PHOTOGRAPHS, work / "photographs")
    (work / "train.toml").write_text(SETTINGS)
    encoder = arguments.latent_encoder or distilled(data, work, arguments.weights)
    shortcuts = arguments.results / "shortcuts.json"
    if not shortcuts.exists():
        run(Path(__file__).with_name("shortcuts.py"), "--data", data, "--json", shortcuts)
    model, margins = work / "model", work / "left_out.npz"
    if not (model / "model.json").exists():
        protoleak(
            "train",
            work / "known",
            *train_options(work, encoder, work / "auxiliary"),
            "--out",
            model,
            "--resume",
        )
    if not margins.exists():
        script = Path(__file__).with_name("left_out.py")
        run(
            *(script, "--data", data, "--work", work, "--latent-encoder", encoder),
            *("--out", margins, "--json", arguments.results / "left_out.json"),
            *(("--research",) if arguments.research else ()),
        )
    measured_on = ("--data", work / "known", "--unknown", work / "unknown", "--photographs", work / "photographs")
    level = chosen_level(json.loads((arguments.results / "left_out.json").read_text()))
    settings = work / "export.toml"
    settings.write_text(
        f'left_out = "{margins}"\nalpha = {ALPHA}\naccusation_share = {level / ALPHA:g}\ndensity_space = "posterior"\n'
        'density_floor = 1.0\nattributor_weights = "float16"\n'
    )
    protoleak(
        *("export", model, *measured_on, "--settings", settings, "--face-detector", arguments.weights / FACE_DETECTOR),
        *("--auxiliary", work / "auxiliary", "--out", arguments.out),
        *("--name", "research" if arguments.research else "default"),
    )
    protoleak(
        *("evaluate", arguments.out, *measured_on, "--images", OPERATOR_IMAGES),
        *("--json", arguments.results / "evaluate_default_bundle.json", "--html", work / "evaluation.html"),
    )
    print(f"built in {(time.monotonic() - started) / 60:.0f} minutes")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "weights", "work", "out", "results"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--latent-encoder", type=Path, help="in the place of distilling one")
    parser.add_argument("--research", action="store_true", help="name generators whose rights forbid shipping, too")
    return parser.parse_args()


def distilled(data: Path, work: Path, weights: Path) -> Path:
    """The light latent encoder, learnt from the training images that ship, whatever the bundle names."""
    encoder = work / "encoder"
    if not (encoder / REPORT_FILE).exists():
        link_all(data, (*known_to(False), *CAMERAS, *auxiliary_to(False)), work / "distillation", ("train",))
        protoleak(
            *("distill", "--teacher", weights / TEACHER, "--data", work / "distillation", *DISTILL_OPTIONS),
            *("--out", encoder, "--resume"),
        )
    return encoder


def chosen_level(record: dict[str, Any]) -> float:
    """The accusation level that left_out.json names."""
    return float(next(row["level"] for row in record["levels"] if row["chosen"]))


def train_options(work: Path, latent_encoder: Path, auxiliary: Path) -> tuple[object, ...]:
    """What `protoleak train` is called with, but for the data and the place."""
    return (
        *("--latent-encoder", latent_encoder, "--input-range", "0,255", "--real-class", REAL),
        *("--auxiliary", auxiliary, "--settings", work / "train.toml", "--epochs", EPOCHS),
    )


def protoleak(*arguments: object) -> None:
    """Runs one of the project's own commands and stops where it fails."""
    run("-m", "protoleak", *arguments)


def run(*arguments: object) -> None:
    """Runs Python and stops where it fails."""
    command = [sys.executable, *map(str, arguments)]
    print("+ " + " ".join(command[1:]), flush=True)
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
