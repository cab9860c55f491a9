"""Builds the zoo of controlled generators; README.md beside this file says what it holds.

    pip install ".[dev]"
    pip download --no-deps gan-face-generate==1.1.1 && unzip gan_face_generate-*.whl gan_face_generate/weights.tar
    python zoo/build.py --data DATA --autoencoder WEIGHTS --photographs /usr/share/backgrounds \
        --dcgan gan_face_generate/weights.tar --out ZOO

DATA holds portraits-sd3/, real-portraits/ and real-headshots/; WEIGHTS holds taef2_encoder.onnx and
taef2_decoder.onnx (madebyollin/taesd, MIT). The photographs are those of Debian's packages mate-backgrounds,
ukui-wallpapers, lomiri-wallpapers-16.04 and lomiri-wallpapers-20.04. An interrupted build goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder is there instead

from protoleak.errors import ProtoleakError
from protoleak.training.memory import keep_freed_memory
from zoo.inputs import Inputs
from zoo.settings import QUICK, ZooSettings
from zoo.zoo import build_zoo


def main() -> None:
    keep_freed_memory()
    arguments = parse_arguments()
    inputs = Inputs(
        data=arguments.data,
        encoder=arguments.autoencoder / "taef2_encoder.onnx",
        decoder=arguments.autoencoder / "taef2_decoder.onnx",
        photographs=arguments.photographs,
        dcgan=arguments.dcgan,
    )
    settings = msgspec.structs.replace(
        QUICK if arguments.quick else ZooSettings(), seed=arguments.seed, precision=arguments.precision
    )
    started = time.monotonic()
    try:
        build_zoo(inputs, settings, arguments.out)
    except ProtoleakError as error:
        raise SystemExit(f"error: {error}") from error
    print(f"{arguments.out}: done in {(time.monotonic() - started) / 60:.0f} minutes")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "autoencoder", "photographs", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--dcgan", type=Path, help="weights.tar; without it that generator is left out")
    parser.add_argument("--quick", action="store_true", help="a reduced zoo in minutes, to try things out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16", help="of training arithmetic")
    return parser.parse_args()


if __name__ == "__main__":
    main()
