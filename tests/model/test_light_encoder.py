"""The project's own latent encoder: shapes, storage, and what it says of damaged files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from protoleak.distillation.settings import STUDENTS
from protoleak.errors import CheckpointError, EngineError
from protoleak.model.latent_encoder import load_latent_encoder
from protoleak.model.light_encoder import LightEncoder, LightEncoderConfig


@pytest.fixture
def encoder() -> LightEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LightEncoder(LightEncoderConfig(latent_channels=5, widths=(4, 6, 8), blocks=(1, 2, 1))).eval()


@pytest.mark.parametrize("name", STUDENTS)
def test_students_are_named_after_their_floating_point_operations(name: str) -> None:
    config = LightEncoderConfig(32, *STUDENTS[name])
    assert config.flops(256) / 1e9 == pytest.approx(float(name.removesuffix("g")), rel=0.15)
    small = LightEncoder(config)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        small(torch.zeros(1, 3, 64, 64))
    assert config.flops(64) == counted.get_total_flops()


@pytest.mark.parametrize("size", [32, 64, 72])
def test_a_latent_is_an_eighth_of_the_image_in_each_direction(size: int, encoder: LightEncoder) -> None:
    with torch.no_grad():
        assert encoder(torch.zeros(2, 3, size, size)).shape == (2, 5, size // 8, size // 8)


def test_a_pixel_anywhere_in_the_image_changes_the_latent(encoder: LightEncoder) -> None:
    """No detail is dropped before the first convolution, whose stride would otherwise pass over some pixels."""
    images = torch.zeros(1, 3, 16, 16, requires_grad=True)
    encoder(images).abs().sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().sum(dim=1) > 0).float().mean() > 0.95  # a few paths may end in a closed ReLU


def test_the_latent_is_the_standardised_one_in_the_teacher_s_units(encoder: LightEncoder) -> None:
    encoder.latent_mean.copy_(torch.arange(5.0))
    encoder.latent_spread.copy_(torch.arange(1.0, 6.0))
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        standardised = encoder.standardised(images)
        for channel in range(5):
            expected = standardised[:, channel] * (channel + 1) + channel
            torch.testing.assert_close(encoder(images)[:, channel], expected)


def test_what_is_stored_is_what_is_read(encoder: LightEncoder, tmp_path: Path) -> None:
    encoder.latent_mean.fill_(0.5)
    encoder.save(tmp_path / "new" / "folder")
    loaded = LightEncoder.load(tmp_path / "new" / "folder")
    assert loaded.config == encoder.config
    assert not loaded.training
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in encoder.state_dict().items())


def test_weights_in_another_memory_layout_are_stored_the_same(encoder: LightEncoder, tmp_path: Path) -> None:
    encoder.save(tmp_path / "a")
    encoder.to(memory_format=torch.channels_last).save(tmp_path / "b")
    assert (tmp_path / "a" / "weights.safetensors").read_bytes() == (
        tmp_path / "b" / "weights.safetensors"
    ).read_bytes()


def changed_config(**changes: Any) -> Any:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return change


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda folder: (folder / "weights.safetensors").unlink(), id="no weights"),
        pytest.param(lambda folder: (folder / "weights.safetensors").write_bytes(b"pickle"), id="no safetensors"),
        pytest.param(changed_config(widths=[4, 6, 9]), id="another width than the weights"),
        pytest.param(changed_config(widths=[4, 6]), id="two widths"),
        pytest.param(changed_config(widths=[-4, 6, 8]), id="a negative width"),
        pytest.param(changed_config(latent_channels=-1), id="a negative number of channels"),
        pytest.param(changed_config(latent_channels="five"), id="a word for a number"),
        pytest.param(changed_config(surprise=1), id="an unknown setting"),
    ],
)
def test_a_damaged_folder_is_an_error_that_names_it(damage: Any, encoder: LightEncoder, tmp_path: Path) -> None:
    encoder.save(tmp_path)
    damage(tmp_path)
    with pytest.raises(CheckpointError, match="no readable light encoder") as caught:
        load_latent_encoder(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_weights_that_are_not_finite_give_an_error_and_no_latent(encoder: LightEncoder, tmp_path: Path) -> None:
    with torch.no_grad():
        encoder.latent_mean[0] = float("nan")
    encoder.save(tmp_path)
    with pytest.raises(EngineError, match="NaN or infinite"):
        load_latent_encoder(tmp_path).latent_shape(32)
