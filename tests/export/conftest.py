"""A small model, trained once on synthetic images, and the data set that it is exported with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from protoleak.dataset import Dataset, read_dataset
from protoleak.model.checkpoint import TrainedModel
from protoleak.model.latent_encoder import load_latent_encoder
from protoleak.training.settings import TrainingSettings
from protoleak.training.train import train
from tests.one_thread import one_thread as one_thread
from tests.training.images import IMAGE_SIZE, write_images, write_latent_encoder

PARTS = ("train", "val", "calibration", "test")


def write_data(folder: Path, kinds: dict[str, str], sizes: tuple[int, int, int, int]) -> Path:
    """A data set with Split.json: one folder per name with images of that kind, `sizes` of them in each of PARTS."""
    for name, kind in kinds.items():
        write_images(folder / name, kind, sum(sizes))
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    parts = {name: [*range(end - size, end)] for name, end, size in zip(PARTS, ends, sizes, strict=True)}
    (folder / "Split.json").write_text(json.dumps(parts))
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generators and a camera class, not to be changed; 36 calibration images are enough for α = 0.05."""
    kinds = {"columns": "columns", "rows": "rows", "camera": "none"}
    return write_data(tmp_path_factory.mktemp("export") / "data", kinds, (10, 4, 12, 4))


@pytest.fixture
def data_copy(data: Path, tmp_path: Path) -> Path:
    """The same to be changed."""
    return Path(shutil.copytree(data, tmp_path / "data"))


@pytest.fixture(scope="session")
def dataset(data: Path) -> Dataset:
    return read_dataset(data, "camera")


@pytest.fixture(scope="session")
def model(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    folder = tmp_path_factory.mktemp("model")
    encoder = load_latent_encoder(write_latent_encoder(folder / "encoder.onnx"))
    settings = TrainingSettings(
        embedding_size=16,
        prototypes_per_generator=2,
        timesteps=(0, 300),
        low_frequency_components=4,
        image_size=IMAGE_SIZE,
        epochs=16,
        batch_size=16,
        learning_rate=3e-3,
        views=0,
        compute="exact",
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return train(dataset, encoder, settings, folder / "model")
    finally:
        torch.set_num_threads(threads)
