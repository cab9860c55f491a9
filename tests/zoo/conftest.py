"""Material for a zoo of a few images: drawn sources, an untrained autoencoder and an untrained DCGAN."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the zoo's networks are PyTorch's")
pytest.importorskip("onnxscript", reason="the small autoencoder is exported")
pytest.importorskip("sklearn", reason="scikit-learn classifies formats")

import torch
from torch import nn

from zoo.dcgan import new_generator
from zoo.inputs import COLLECTIONS, Inputs
from zoo.settings import ZooSettings
from zoo.sources import SPLITS, split_of
from zoo.zoo import build_zoo

CHANNELS = 4
TINY = ZooSettings(
    sources_per_collection=5,
    crops_per_source=1,
    crops_per_photograph=1,
    decoder_steps=1,
    decoder_batch=1,
    sibling_steps=1,
    every_auxiliary=1,
    denoiser_steps=1,
    denoiser_batch=1,
    negatives_per_photograph=5,
    precision="fp32",
)


def draw(path: Path, seed: int, detail: int, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (detail, detail, 3), dtype=np.uint8)
    Image.fromarray(small).resize(size).save(path, quality=90)


def names_of_every_split(collection: str) -> list[str]:
    """A file name for each split, and two to train with: the first that the hash puts there."""
    candidates = [f"{number:03d}.jpg" for number in range(200)]
    return [
        name
        for split in SPLITS
        for name in [name for name in candidates if split_of(f"{collection}/{name}") == split][
            : 2 if split == "train" else 1
        ]
    ]


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("material")
    for index, (name, directory) in enumerate(COLLECTIONS.items()):
        for image, file in enumerate([*names_of_every_split(name), "zz.jpg"]):  # one more than is used
            draw(folder / "data" / directory / file, 100 * index + image, 6, (96, 120))
    draw(folder / "photographs" / "meadow.jpg", 7, 128, (300, 200))
    torch.manual_seed(0)
    # A latent is the image made small and an empty channel, so that decoding gives an image again.
    enter, leave = nn.Conv2d(3, CHANNELS, 1, bias=False), nn.Conv2d(CHANNELS, 3, 1, bias=False)
    nn.init.dirac_(enter.weight)
    nn.init.dirac_(leave.weight)
    encoder = nn.Sequential(nn.AvgPool2d(8), enter)
    decoder = nn.Sequential(leave, nn.Upsample(scale_factor=8))
    for module, name, shape in ((encoder, "encoder", (2, 3, 256, 256)), (decoder, "decoder", (2, CHANNELS, 32, 32))):
        torch.onnx.export(
            module.eval(),
            (torch.zeros(shape),),
            str(folder / f"{name}.onnx"),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )
    state = {f"main.{name}": tensor for name, tensor in new_generator().state_dict().items()}
    torch.save({"netG_state_dict": state}, folder / "weights.tar")
    return Inputs(
        folder / "data",
        folder / "encoder.onnx",
        folder / "decoder.onnx",
        folder / "photographs",
        folder / "weights.tar",
    )


@pytest.fixture(scope="session")
def zoo(material: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo of 15 sources; not to be changed."""
    out = tmp_path_factory.mktemp("zoo")
    build_zoo(material, TINY, out)
    return out
