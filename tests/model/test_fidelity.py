"""Fed the recorded noise, importer and network reproduce what the published code computed, stage by stage.

An array's spread is how far it moves from image to image: the largest, over its elements, of maximum − minimum over the
images. Errors are measured against that and not against magnitudes, since a part common to all images says nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from protoleak.images.preprocess import preprocess
from protoleak.model.checkpoint import TrainedModel, attributor_outputs, load_model, save_model
from protoleak.model.latent_encoder import load_latent_encoder
from protoleak.model.published import import_checkpoint

TOLERANCE = 1e-4  # of the spread: what the reference's README asks of a faithful port
STAGES = (
    "z0",
    "z_t",
    "embedding_per_timestep",
    "timestep_weight",
    "embedding",
    "gate",
    "prototype_distance",
    "score_lse",
    "score_min",
)
Arrays = dict[str, npt.NDArray[Any]]


@pytest.fixture(scope="module")
def reference(shared: Path) -> Path:
    return shared / "reference" / "conv-multistep"


@pytest.fixture(scope="module")
def settings(reference: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((reference / "meta.json").read_text())
    return settings


@pytest.fixture(scope="module")
def expected(reference: Path) -> Arrays:
    with np.load(reference / "expected.npz") as file:
        return {name.removeprefix("forward/"): file[name] for name in file.files if name.startswith("forward/")}


@pytest.fixture(scope="module")
def images(reference: Path, settings: dict[str, Any]) -> npt.NDArray[np.uint8]:
    images = []
    for name in settings["images"]:
        with Image.open(reference / "images" / name) as image:
            images.append(preprocess(image.convert("RGB"), settings["image_size"]))
    return np.stack(images)


@pytest.fixture(scope="module")
def model(reference: Path, settings: dict[str, Any]) -> TrainedModel:
    return import_checkpoint(
        reference / "checkpoint.pt",
        load_latent_encoder(reference / "vae"),
        timesteps=settings["t_steps"],
        generators=settings["classes"],
        temporal=reference / "temporal_pool.pt",
    )


def _stages(model: TrainedModel, images: npt.NDArray[np.uint8], noise: npt.NDArray[np.float32]) -> Arrays:
    z0 = model.latent_encoder.encode(images)
    z_t = model.config.noised(z0, noise)
    outputs = attributor_outputs(model, z_t)
    with torch.no_grad():
        embedding_per_timestep, _ = model.attributor.embed_timesteps(torch.from_numpy(z_t))
    return {
        "z0": z0,
        "z_t": z_t,
        "embedding_per_timestep": embedding_per_timestep.numpy(),
        **outputs,
        "score_lse": outputs["class_score"],
        "score_min": -outputs["prototype_distance"].min(axis=2),
    }


@pytest.fixture(scope="module")
def found(model: TrainedModel, images: npt.NDArray[np.uint8], expected: Arrays) -> Arrays:
    return _stages(model, images, expected["eps"])


def test_preprocessing_equals_the_published_one_in_every_byte(images: npt.NDArray[np.uint8], expected: Arrays) -> None:
    recorded = (expected["image"].astype(np.float64) * 0.5 + 0.5) * 255
    assert np.abs(recorded - np.rint(recorded)).max() < 1e-3  # so that rounding back to uint8 is no choice
    np.testing.assert_array_equal(images.transpose(0, 3, 1, 2), np.rint(recorded).astype(np.uint8))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_agrees_with_the_published_code(stage: str, found: Arrays, expected: Arrays) -> None:
    wanted = expected[stage]
    assert found[stage].shape == wanted.shape
    assert np.abs(found[stage] - wanted).max() <= TOLERANCE * np.ptp(wanted, axis=0).max()


def test_the_checkpoint_is_described_as_what_it_is(model: TrainedModel, settings: dict[str, Any]) -> None:
    network = model.config.attributor
    assert network.backbone == settings["backbone"]
    assert network.embedding_size == settings["embed_dim"]
    assert network.prototypes_per_generator == settings["prototypes_per_class"]
    assert (network.in_channels, network.gate, network.log_sum_exp, network.temporal) == (4, True, True, "attention")
    assert model.config.latent_shape == (4, 32, 32)


def test_an_imported_model_computes_the_same_after_it_was_stored(
    model: TrainedModel, images: npt.NDArray[np.uint8], expected: Arrays, found: Arrays, tmp_path: Path
) -> None:
    save_model(tmp_path / "model", model)
    loaded = load_model(tmp_path / "model")
    assert loaded.config == model.config
    again = _stages(loaded, images, expected["eps"])
    for stage in STAGES:
        np.testing.assert_array_equal(again[stage], found[stage], err_msg=stage)


def test_the_frozen_noise_bank_gives_an_image_the_same_scores_in_any_batch(
    model: TrainedModel, images: npt.NDArray[np.uint8]
) -> None:
    together = attributor_outputs(model, model.config.noised(model.latent_encoder.encode(images)))["class_score"]
    alone = attributor_outputs(model, model.config.noised(model.latent_encoder.encode(images[2:3])))["class_score"]
    # A batch of another size may sum in another order; 1e-4 of the spread is again what is allowed.
    assert np.abs(together[2] - alone[0]).max() <= TOLERANCE * np.ptp(together, axis=0).max()
