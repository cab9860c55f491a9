from pathlib import Path

import pytest
import torch

from protoleak.model.latent_encoder import LatentEncoder, load_latent_encoder
from protoleak.model.light_encoder import LightEncoder, LightEncoderConfig


@pytest.fixture(scope="session")
def light_encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LightEncoder with 4 latent channels and random weights, as it is stored."""
    folder = tmp_path_factory.mktemp("light")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LightEncoder(LightEncoderConfig(latent_channels=4, widths=(4, 4, 4), blocks=(1, 1, 1))).save(folder)
    return folder


@pytest.fixture(scope="session")
def light_encoder(light_encoder_folder: Path) -> LatentEncoder:
    return load_latent_encoder(light_encoder_folder)
