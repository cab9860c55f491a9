"""Rebuilds the default bundle: generators, latent encoder, attribution network, bundle. About an hour on two cores.

    pip install ".[dev]"
    pip download --no-deps gan-face-generate==1.1.1 && unzip gan_face_generate-*.whl gan_face_generate/weights.tar
    python tools/default_bundle/build.py --data DATA --autoencoder WEIGHTS --dcgan gan_face_generate/weights.tar \
        --photographs /usr/share/backgrounds --work WORK --out protoleak/default_bundle --examples examples

DATA holds portraits-sd3/, real-portraits/, real-headshots/ and real-faces/; WEIGHTS holds taef2_encoder.onnx and
taef2_decoder.onnx (madebyollin/taesd, MIT). The photographs are those of Debian's packages mate-backgrounds,
ukui-wallpapers, lomiri-wallpapers-16.04 and lomiri-wallpapers-20.04: pictures of no class, for outlier exposure.
Every step keeps its result in WORK and is skipped when it is there, so an interrupted build goes on where it stopped.
Steps that the project has a command for call that command.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image
from sources import Source, photographs, read_collection
from zoo import AUTOENCODER, Autoencoder, build_zoo, crops_of, train_decoders

# Eight pictures that the project made itself: of generators that the bundle knows, and three of ones that it doesn't.
# They are the first of the test split, unchosen, and none comes from a photograph of a person.
DCGAN = "zoo/dcgan_digiface"
EXAMPLES = {
    DCGAN: 2,
    "zoo/nearest_decoder": 1,
    "zoo/transposed_decoder": 2,
    "unknown/noised_latents": 2,
    "unknown/subpixel_decoder": 1,
}
CROPS_PER_PHOTOGRAPH = 12
# glibc otherwise gives every large tensor back to the kernel and faults it in again at the next step: a third
# of the processor time of training, as measured when this was written.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}


def main() -> None:
    arguments = parse_arguments()
    data, work = arguments.data, arguments.work
    started = time.monotonic()
    portraits = read_collection(data / "portraits-sd3", "sd3")
    camera = [
        *read_collection(data / "real-portraits", "portraits"),
        *read_collection(data / "real-headshots", "headshots"),
    ]
    negatives = list(photographs(arguments.photographs))
    autoencoder = Autoencoder(
        arguments.autoencoder / "taef2_encoder.onnx", arguments.autoencoder / "taef2_decoder.onnx"
    )
    training = [source.path for source in portraits + camera if source.split == "train"]
    train_decoders(autoencoder, training + negatives, arguments.decoder_steps, work)
    if not (work / "zoo" / "Split.json").exists():
        copied = {"stable_diffusion_3": portraits, "real": camera}
        build_zoo(portraits + camera, copied, autoencoder, arguments.dcgan, work)
    write_crops(negatives, work / "negatives")
    reconstructions = [
        work / "unknown" / AUTOENCODER / f"{source.name}.jpg"
        for source in portraits + camera
        if source.split == "train"
    ]
    # The teacher's own reconstructions, unlabelled: the student has to tell them from photographs as its teacher does.
    link_pictures(pictures_of_split(work, "train") + reconstructions + negatives, work / "distillation")

    if not (work / "encoder" / "distillation.json").exists():
        teacher = arguments.autoencoder / "taef2_encoder.onnx"
        protoleak(
            *("distill", "--teacher", teacher, "--data", work / "distillation", "--out", work / "encoder"),
            *DISTILLATION_OPTIONS,
        )
    if not (work / "model" / "model.json").exists():
        protoleak(
            *("train", work / "zoo", "--latent-encoder", work / "encoder", "--out", work / "model"),
            *("--real", "real", "--negatives", work / "negatives"),
            *TRAINING_OPTIONS,
            "--resume",
        )
    protoleak(
        *("export", work / "model", "--data", work / "zoo", "--out", arguments.out, "--name", "default"),
        *("--head", "tied_gaussian"),
        *("--unknown", work / "unknown", "--real-faces", data / "real-faces"),
    )
    copy_examples(work, portraits, arguments.examples)
    print(f"built in {(time.monotonic() - started) / 60:.0f} minutes")


# bfloat16 halves the time or better on processors with AMX; on others use fp32.
DISTILLATION_OPTIONS = ("--views", "2", "--epochs", "14", "--precision", "bf16")
TRAINING_OPTIONS = ("--views", "4", "--epochs", "10", "--precision", "bf16")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "autoencoder", "dcgan", "photographs", "work", "out", "examples"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--decoder-steps", type=int, default=450, help="training steps of each of three decoders")
    return parser.parse_args()


def protoleak(*arguments: object) -> None:
    """Runs one of the project's own commands and stops where it fails."""
    command = [sys.executable, "-m", "protoleak", *map(str, arguments)]
    print("+ " + " ".join(command[2:]), flush=True)
    subprocess.run(command, check=True, env=os.environ | KEEP_MEMORY)


def pictures_of_split(work: Path, split: str) -> list[Path]:
    """The zoo's pictures of one split, of every class."""
    names: dict[str, list[str]] = json.loads((work / "zoo" / "Split.json").read_text())[split]
    return [work / "zoo" / generator / name for generator in sorted(names) for name in names[generator]]


def write_crops(photographs: list[Path], folder: Path) -> None:
    """Crops of large photographs as pictures of no class, so that there are about as many as of a class."""
    if folder.exists():
        return
    folder.mkdir(parents=True)
    for index, crop in enumerate(crops_of(photographs, CROPS_PER_PHOTOGRAPH, seed=5)):
        Image.fromarray(crop).save(folder / f"{index:04d}.jpg", quality=95)


def link_pictures(pictures: list[Path], folder: Path) -> None:
    """A folder of links to the pictures, named by folder and file so that none hides another."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        link = folder / f"{picture.parent.name}_{picture.name}"
        if not link.exists():
            link.symlink_to(picture.resolve())


def copy_examples(work: Path, portraits: list[Source], examples: Path) -> None:
    """Copies the examples from the test split; reconstructions are of Stable Diffusion portraits, never of a person."""
    test = {path.name for path in pictures_of_split(work, "test")}
    synthetic = {f"{source.name}.jpg" for source in portraits} | {path.name for path in (work / DCGAN).iterdir()}
    examples.mkdir(parents=True, exist_ok=True)
    for folder, count in EXAMPLES.items():
        pictures = sorted(path for path in (work / folder).iterdir() if path.name in test & synthetic)
        for index, picture in enumerate(pictures[:count]):
            shutil.copyfile(picture, examples / f"{Path(folder).name}_{index}.jpg")


if __name__ == "__main__":
    main()
