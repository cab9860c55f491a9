"""Images with a face that YuNet finds, and a small bundle with three looks, trained and exported on them.

The face is that of the photograph among the examples; each image has it elsewhere, in other light, and with the trace
of a class over it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from protoleak.bundle.bundle import DEFAULT_BUNDLE
from protoleak.bundle.reader import FACE_DETECTOR
from protoleak.choices import Look
from tests.paths import EXAMPLES

if TYPE_CHECKING:
    from protoleak.model.checkpoint import TrainedModel

YUNET = DEFAULT_BUNDLE / FACE_DETECTOR
LOOKS: tuple[Look, ...] = ("face", "native", "image")
KINDS = {"columns": "columns", "rows": "rows", "camera": "none"}
IMAGE_SIZE, SIDE = 64, 192
SIZES = (10, 4, 12, 4)  # train, validation, calibration, test: 36 calibration images are enough for α = 0.05
AROUND = 1.9  # side of what is shown of the photograph, in faces


def face_image(kind: str, seed: int) -> Image.Image:
    """A square image of SIDE pixels with the face about half as high: stripes over it for "rows" and "columns"."""
    random = np.random.default_rng([seed, *kind.encode()])
    photograph, left, top, side = _photograph()
    shift = 0.1 * side * random.uniform(-1, 1, 2)
    box = (left + shift[0], top + shift[1], left + shift[0] + side, top + shift[1] + side)
    shown = photograph.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=_inside(box, photograph))
    pixels = np.asarray(shown, dtype=np.float64)
    wave = 26 * np.sin(2 * np.pi * np.arange(SIDE) / 24)
    trace = {"rows": wave[:, None, None], "columns": wave[None, :, None]}.get(kind, 0.0)
    pixels = pixels * random.uniform(0.85, 1.05) + trace + random.normal(scale=4, size=pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def group_of_two() -> Image.Image:
    """A large face of "columns" and a smaller one of "rows" beside it."""
    both = Image.new("RGB", (2 * SIDE, SIDE), (120, 120, 120))
    both.paste(face_image("columns", 11), (0, 0))
    both.paste(face_image("rows", 12).resize((150, 150)), (SIDE + 20, 20))
    return both


def write_faces(folder: Path, kind: str, count: int, first_seed: int = 0) -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        face_image(kind, first_seed + index).save(folder / f"{index:03d}.png")


def write_data(folder: Path) -> Path:
    """A data set with Split.json of the three KINDS."""
    for name, kind in KINDS.items():
        write_faces(folder / name, kind, sum(SIZES))
    ends = np.cumsum(SIZES)
    parts = ("train", "val", "calibration", "test")
    split = {part: [*range(int(end) - size, int(end))] for part, end, size in zip(parts, ends, SIZES, strict=True)}
    (folder / "Split.json").write_text(json.dumps(split))
    return folder


def train_small(data: Path, folder: Path) -> TrainedModel:
    """A model that looks at the faces of a data set in three looks, as small as can be."""
    from protoleak.dataset import read_dataset
    from protoleak.model.latent_encoder import load_latent_encoder
    from protoleak.training.settings import TrainingSettings
    from protoleak.training.train import train
    from tests.training.images import write_latent_encoder

    settings = TrainingSettings(
        embedding_size=16,
        prototypes_per_generator=2,
        timesteps=(0, 300),
        low_frequency_components=4,
        image_size=IMAGE_SIZE,
        looks=LOOKS,
        face_margin=0.3,
        equal_amplitudes=True,
        standardise=True,
        real_turns=2,
        views=1,
        validation_views=0,
        epochs=30,
        batch_size=16,
        learning_rate=5e-3,
        prototype_spread=0.3,
        compute="exact",
    )
    encoder = load_latent_encoder(write_latent_encoder(folder / "encoder.onnx"))
    return train(
        read_dataset(data, "camera"), encoder, settings, folder / "model", cache=folder / "cache", face_model=YUNET
    )


def export_small(model: TrainedModel, data: Path, folder: Path) -> Path:
    """Its bundle, with a face detector and with margins of what was left out."""
    from protoleak.dataset import read_dataset
    from protoleak.export.export import export_bundle
    from protoleak.export.settings import ExportSettings

    left_out = write_left_out(folder / "left_out.npz")
    settings = ExportSettings(name="looks", face_detector=YUNET, left_out=left_out, computes=())
    export_bundle(model, read_dataset(data, "camera"), folder / "bundle", settings, cache=folder / "cache")
    return folder / "bundle"


def write_left_out(file: Path) -> Path:
    """Margins as a recipe that leaves sources and generators out measures them: here drawn, on two sides of 0."""
    random = np.random.default_rng(5)
    np.savez(file, camera=random.normal(1.0, 1.0, 120), generated=random.normal(-1.0, 1.0, 60))
    return file


@cache
def _photograph() -> tuple[Image.Image, float, float, float]:
    """It, and left, top and side of the square around its face."""
    from protoleak.faces.largest import LargestFace

    with Image.open(next(iter(sorted(EXAMPLES.rglob("photograph*.jpg"))))) as opened:
        photograph = opened.convert("RGB")
    face = LargestFace(YUNET)(photograph).box
    side = AROUND * max(face.width, face.height)
    return photograph, face.centre[0] - side / 2, face.centre[1] - side / 2, side


def _inside(box: tuple[float, float, float, float], image: Image.Image) -> tuple[float, float, float, float]:
    width, height = image.size
    return max(0.0, box[0]), max(0.0, box[1]), min(float(width), box[2]), min(float(height), box[3])
