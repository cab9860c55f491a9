"""The model directory is read back exactly as it was written, or refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from protoleak.errors import CheckpointError
from protoleak.model.attributor import Attributor, AttributorConfig
from protoleak.model.checkpoint import (
    LATENT_ENCODER_FOLDER,
    MODEL_FILE,
    WEIGHTS_FILE,
    TrainedModel,
    attributor_outputs,
    load_model,
    save_model,
)
from protoleak.model.latent_encoder import LatentEncoder
from protoleak.model.model_config import LatentEncoderRecord, ModelConfig


@pytest.fixture
def model(light_encoder: LatentEncoder) -> TrainedModel:
    network = AttributorConfig(
        backbone="conv", in_channels=8, embedding_size=8, generators=2, prototypes_per_generator=2, timesteps=2
    )
    config = ModelConfig(
        generators=["a", "camera"],
        real_class="camera",
        image_size=32,
        timesteps=[10, 300],
        latent_shape=(4, 4, 4),
        low_frequency_components=2,
        noise_seed=5,
        attributor=network,
        latent_encoder=LatentEncoderRecord(light_encoder.kind, light_encoder.fingerprint),
        provenance={"epochs": 3},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TrainedModel(config, Attributor(network).eval(), light_encoder)


def _edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = msgspec.json.decode((path / MODEL_FILE).read_bytes())
    change(content)
    (path / MODEL_FILE).write_bytes(msgspec.json.encode(content))


def test_a_model_comes_back_with_the_same_weights_outputs_and_encoder(model: TrainedModel, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "model"
    save_model(path, model)
    loaded = load_model(path)
    assert loaded.config == model.config
    assert loaded.latent_encoder.fingerprint == model.latent_encoder.fingerprint
    assert not loaded.attributor.training
    z0 = loaded.latent_encoder.encode(np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8))
    for name, values in attributor_outputs(model, model.config.noised(z0), batch_size=2).items():
        again = attributor_outputs(loaded, loaded.config.noised(z0), batch_size=2)[name]
        np.testing.assert_array_equal(again, values)
    assert sorted(each.name for each in path.parent.iterdir()) == ["model"]  # nothing half-made is left beside it


def test_a_loaded_model_can_be_trained_on(model: TrainedModel, tmp_path: Path) -> None:
    save_model(tmp_path / "model", model)
    attributor = load_model(tmp_path / "model").attributor.train()
    assert all(parameter.requires_grad for parameter in attributor.parameters())


def test_an_older_model_is_replaced_and_anything_else_is_left_alone(model: TrainedModel, tmp_path: Path) -> None:
    save_model(tmp_path / "model", model)
    save_model(tmp_path / "model", model)
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "one.jpg").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="not a model"):
        save_model(tmp_path / "photographs", model)
    assert (tmp_path / "photographs" / "one.jpg").read_bytes() == b"x"


def test_changed_weights_are_refused(model: TrainedModel, tmp_path: Path) -> None:
    save_model(tmp_path, model)
    weights = bytearray((tmp_path / WEIGHTS_FILE).read_bytes())
    weights[-1] ^= 1
    (tmp_path / WEIGHTS_FILE).write_bytes(weights)
    with pytest.raises(CheckpointError, match="was changed"):
        load_model(tmp_path)


def test_another_latent_encoder_is_refused(model: TrainedModel, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_model(tmp_path, model)
    weights = tmp_path / LATENT_ENCODER_FOLDER / "weights.safetensors"
    state = load_file(weights)
    state["latent_mean"] += 1
    save_file(state, weights)
    with pytest.raises(CheckpointError, match="fingerprint"):
        load_model(tmp_path)


@pytest.mark.parametrize("missing", [MODEL_FILE, WEIGHTS_FILE, f"{LATENT_ENCODER_FOLDER}/config.json"])
def test_a_missing_file_is_named(missing: str, model: TrainedModel, tmp_path: Path) -> None:
    save_model(tmp_path, model)
    (tmp_path / missing).unlink()
    with pytest.raises(CheckpointError, match=Path(missing).name):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content.update(schema_version=2), "upgrade protoleak"),
        (lambda content: content.update(extra=1), "extra"),
        (lambda content: content["config"].update(timesteps=[10, 2000]), "0…999"),
        (lambda content: content["config"].update(timesteps=[10]), "the network has 2"),
        (lambda content: content["config"].update(generators=["a", "a"]), "must differ"),
        (lambda content: content["config"].update(real_class="b"), "'b'"),
        (lambda content: content["config"].update(low_frequency_components=None), "4 input channels"),
        (lambda content: content["config"].update(low_frequency_components=5), "5 low-frequency"),
        (lambda content: content["config"]["attributor"].update(embedding_size=9), "expected"),
        (lambda content: content["config"]["attributor"].update(backbone="resnet18"), "missing"),
        (lambda content: content["config"]["attributor"].update(backbone="vgg"), "vgg"),
    ],
)
def test_a_description_that_contradicts_itself_or_the_weights_is_refused(
    change: Callable[[dict[str, Any]], None], words: str, model: TrainedModel, tmp_path: Path
) -> None:
    save_model(tmp_path, model)
    _edit(tmp_path, change)
    with pytest.raises(CheckpointError, match=words):
        load_model(tmp_path)


def test_weights_that_are_not_finite_are_refused(model: TrainedModel, tmp_path: Path) -> None:
    with torch.no_grad():
        model.attributor.prototypes[0, 0, 0] = float("nan")
    save_model(tmp_path, model)
    with pytest.raises(CheckpointError, match=r"NaN.*proto_head\.protos"):
        load_model(tmp_path)


def test_importing_the_modules_leaves_torch_as_it_was() -> None:
    import subprocess
    import sys

    program = (
        "import torch\n"
        "state = lambda: (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(),"
        " torch.get_default_dtype(), torch.is_grad_enabled(), torch.initial_seed(),"
        " torch.get_rng_state().sum().item())\n"
        "torch.manual_seed(3); before = state()\n"
        "import protoleak.model.published, protoleak.model.latent_cache\n"
        "assert state() == before\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
