"""Published checkpoints of every kind are imported as what they are, and contradictions are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from protoleak.choices import BackboneKind
from protoleak.errors import CheckpointError
from protoleak.model.checkpoint import TrainedModel
from protoleak.model.latent_encoder import LatentEncoder
from protoleak.model.published import import_checkpoint

from .published_network import PublishedNetwork

GENERATORS = ["a", "b", "c"]
# Both sides are float32 and differ in the order of their sums; over a hundred layers of random weights that stays under
# 1e-4 of an output's largest value, where any slip in architecture or pooling shows as more than 1e-2.
TOLERANCE = 1e-4


def _input(channels: int = 4, timesteps: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, timesteps, channels, 16, 16, generator=generator)  # small, since depth is what matters here


def _assert_same_outputs(model: TrainedModel, network: PublishedNetwork, z_t: torch.Tensor, uniform: bool) -> None:
    expected = network.expected(z_t, uniform=uniform)
    with torch.no_grad():
        outputs = model.attributor(z_t)._asdict()
    assert outputs.keys() == expected.keys()
    for name, value in expected.items():
        assert outputs[name].shape == value.shape, name
        assert value.abs().max() > 1e-3, f"{name} is all but zero, so nothing would be compared"
        assert (outputs[name] - value).abs().max() <= TOLERANCE * value.abs().max(), name


@pytest.mark.parametrize(
    ("kind", "vit_image_size"),
    [
        ("conv", 224),
        ("resnet18", 224),
        ("resnet50", 224),
        ("resnet101", 224),
        ("efficientnet_b4", 224),
        ("vit_b_16", 224),
        ("vit_b_16", 64),
    ],
)
def test_every_backbone_is_recognised_and_computes_what_it_computed(
    kind: BackboneKind, vit_image_size: int, tmp_path: Path, light_encoder: LatentEncoder
) -> None:
    torch.manual_seed(0)
    z_t = _input()
    network = PublishedNetwork(kind, vit_image_size=vit_image_size).settle(z_t)
    torch.save(network.checkpoint(), tmp_path / "checkpoint.pt")
    torch.save(network.query.state_dict(prefix="query."), tmp_path / "pool.pt")
    model = import_checkpoint(
        tmp_path / "checkpoint.pt",
        light_encoder,
        timesteps=[0, 100],
        generators=GENERATORS,
        temporal=tmp_path / "pool.pt",
    )
    assert model.config.attributor.backbone == kind
    _assert_same_outputs(model, network, z_t, uniform=False)


@pytest.mark.parametrize("gate", [True, False])
@pytest.mark.parametrize("log_sum_exp", [True, False])
def test_gate_and_aggregation_are_read_from_the_names_whatever_else_is_stored(
    gate: bool, log_sum_exp: bool, tmp_path: Path, light_encoder: LatentEncoder
) -> None:
    torch.manual_seed(0)
    z_t = _input()
    network = PublishedNetwork(gate=gate, log_sum_exp=log_sum_exp).settle(z_t)
    content = network.checkpoint(optimizer=True, am_head=True)
    torch.save(content | {"epoch": 7}, tmp_path / "checkpoint.pt")
    model = import_checkpoint(
        tmp_path / "checkpoint.pt", light_encoder, timesteps=[0, 100], generators=GENERATORS, temporal="uniform"
    )
    assert (model.config.attributor.gate, model.config.attributor.log_sum_exp) == (gate, log_sum_exp)
    assert model.config.provenance["temporal"] == "uniform"
    assert model.config.provenance["not_imported"] == ["am_head", "epoch", "optimizer"]
    _assert_same_outputs(model, network, z_t, uniform=True)


@pytest.mark.parametrize("kind", ["resnet18", "conv"])
def test_one_timestep_has_no_temporal_pool(kind: BackboneKind, tmp_path: Path, light_encoder: LatentEncoder) -> None:
    torch.manual_seed(0)
    z_t = _input(timesteps=1)
    network = PublishedNetwork(kind).settle(z_t)
    torch.save(network.checkpoint(), tmp_path / "checkpoint.pt")
    model = import_checkpoint(tmp_path / "checkpoint.pt", light_encoder, timesteps=[250], generators=GENERATORS)
    assert not any(name.startswith("temporal_pool") for name in model.attributor.state_dict())
    _assert_same_outputs(model, network, z_t, uniform=False)


def test_twice_the_latent_channels_are_the_low_frequency_half(tmp_path: Path, light_encoder: LatentEncoder) -> None:
    torch.manual_seed(0)
    z_t = _input(channels=8, timesteps=1)
    network = PublishedNetwork(channels=8).settle(z_t)
    torch.save(network.checkpoint(), tmp_path / "checkpoint.pt")
    model = import_checkpoint(
        tmp_path / "checkpoint.pt", light_encoder, timesteps=[250], generators=GENERATORS, low_frequency_components=8
    )
    assert model.config.attributor.in_channels == 8
    _assert_same_outputs(model, network, z_t, uniform=False)


def test_half_precision_weights_become_float32(tmp_path: Path, light_encoder: LatentEncoder) -> None:
    content = PublishedNetwork().half().checkpoint()
    torch.save(content, tmp_path / "checkpoint.pt")
    model = import_checkpoint(tmp_path / "checkpoint.pt", light_encoder, timesteps=[250], generators=GENERATORS)
    assert {parameter.dtype for parameter in model.attributor.parameters()} == {torch.float32}


@pytest.mark.parametrize("wrap", [lambda pool: pool, lambda pool: {f"temporal_pool.{k}": v for k, v in pool.items()}])
@pytest.mark.parametrize("nested", [False, True])
def test_the_temporal_pool_is_found_under_a_prefix_and_inside_a_mapping(
    wrap: Callable[[dict[str, Any]], dict[str, Any]], nested: bool, tmp_path: Path, light_encoder: LatentEncoder
) -> None:
    network = PublishedNetwork()
    pool = wrap(network.query.state_dict(prefix="query."))
    torch.save(network.checkpoint(), tmp_path / "checkpoint.pt")
    torch.save({"temporal_pool": pool} if nested else pool, tmp_path / "pool.pt")
    model = import_checkpoint(
        tmp_path / "checkpoint.pt",
        light_encoder,
        timesteps=[0, 100],
        generators=GENERATORS,
        temporal=tmp_path / "pool.pt",
    )
    assert torch.equal(model.attributor.state_dict()["temporal_pool.query.weight"], network.query.weight)


def _drop(content: dict[str, Any]) -> None:
    del content["backbone"]["encoder.bn2.running_var"]


def _add(content: dict[str, Any]) -> None:
    content["backbone"]["encoder.conv4.weight"] = torch.zeros(1)


def _poison(content: dict[str, Any]) -> None:
    content["backbone"]["encoder.conv2.weight"][0, 0, 0, 0] = float("nan")


def _replace(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content[key] = value

    return change


POOL = {"query.weight": torch.zeros(1, 16), "query.bias": torch.zeros(1)}


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (None, {"generators": ["a", "b"]}, ["3 generators", "2 were named"]),
        (None, {"generators": ["a", "b", "a"]}, ["'a', 'b', 'a'"]),
        (None, {"timesteps": [0, 1000]}, ["1000", "0…999"]),
        (None, {"timesteps": [0, -1]}, ["-1", "0…999"]),
        (None, {"timesteps": [100, 100]}, ["100", "twice"]),
        (None, {"timesteps": []}, ["timesteps"]),
        (None, {"temporal": None}, ["2 timesteps", "--temporal uniform"]),
        (None, {"timesteps": [250]}, ["uniform", "one timestep"]),
        (None, {"temporal": "absent.pt"}, ["absent.pt"]),
        (None, {"low_frequency_components": 8}, ["4 channels", "8 low-frequency components"]),
        (None, {"real_class": "d"}, ["'d'"]),
        (_drop, {}, ["encoder.bn2.running_var", "missing"]),
        (_add, {}, ["encoder.conv4.weight", "unexpected"]),
        (_poison, {}, ["NaN", "encoder.conv2.weight"]),
        (_replace("am_head", {"weight": torch.zeros(5, 16)}), {}, ["(5, 16)", "3 generators"]),
        (_replace("proto_head", {"protos": torch.zeros(3, 2, 20)}), {}, ["20 features", "16"]),
        (_replace("proto_head", {"protos": torch.zeros(3, 16)}), {}, ["(3, 16)"]),
        (_replace("proto_head", {}), {}, ["proto_head.protos"]),
        (_replace("backbone", {"encoder.foo": torch.zeros(1)}), {}, ["encoder.foo"]),
        (_replace("backbone", "weights"), {}, ["'backbone'"]),
        (_replace("open_head", {"mlp.0.weight": torch.zeros(1)}), {}, ["open_head"]),
        (_replace("temporal_pool", POOL), {}, ["two temporal pools"]),
    ],
)
def test_a_contradiction_is_refused_and_both_sides_are_named(
    change: Callable[[dict[str, Any]], None] | None,
    options: dict[str, Any],
    words: list[str],
    tmp_path: Path,
    light_encoder: LatentEncoder,
) -> None:
    torch.manual_seed(0)
    content = PublishedNetwork().checkpoint()
    if change is not None:
        change(content)
    torch.save(content, tmp_path / "checkpoint.pt")
    settings: dict[str, Any] = {"timesteps": [0, 100], "generators": GENERATORS, "temporal": "uniform"} | options
    with pytest.raises(CheckpointError) as caught:
        import_checkpoint(tmp_path / "checkpoint.pt", light_encoder, **settings)
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        (3, ["3 channels", "gives 4", "pixels"]),
        (8, ["8 channels", "gives 4", "low-frequency"]),
        (16, ["16 channels", "gives 4"]),
    ],
)
def test_channels_that_the_latent_encoder_does_not_give_are_refused(
    channels: int, words: list[str], tmp_path: Path, light_encoder: LatentEncoder
) -> None:
    torch.save(PublishedNetwork(channels=channels).checkpoint(), tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError) as caught:
        import_checkpoint(tmp_path / "checkpoint.pt", light_encoder, timesteps=[0], generators=GENERATORS)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        ({"query.weight": torch.zeros(1, 32), "query.bias": torch.zeros(1)}, ["(1, 32)", "16 features"]),
        ({"query.weight": torch.zeros(1, 16)}, ["query.bias"]),
        ({"a.query.weight": torch.zeros(1, 16)} | POOL, ["2 entries"]),
        ({"query.weight": torch.full((1, 16), float("inf")), "query.bias": torch.zeros(1)}, ["infinite"]),
        ([1, 2], ["list"]),
    ],
)
def test_a_temporal_pool_that_does_not_fit_is_refused(
    pool: object, words: list[str], tmp_path: Path, light_encoder: LatentEncoder
) -> None:
    torch.save(PublishedNetwork().checkpoint(), tmp_path / "checkpoint.pt")
    torch.save(pool, tmp_path / "pool.pt")
    with pytest.raises(CheckpointError) as caught:
        import_checkpoint(
            tmp_path / "checkpoint.pt",
            light_encoder,
            timesteps=[0, 100],
            generators=GENERATORS,
            temporal=tmp_path / "pool.pt",
        )
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_vit_whose_positions_make_no_square_is_refused(tmp_path: Path, light_encoder: LatentEncoder) -> None:
    backbone = {
        "encoder.base.conv_proj.weight": torch.zeros(768, 4, 16, 16),
        "encoder.base.encoder.pos_embedding": torch.zeros(1, 12, 768),
        "encoder.head.weight": torch.zeros(16, 768),
    }
    torch.save({"backbone": backbone, "proto_head": {"protos": torch.zeros(3, 2, 16)}}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="11 patches"):
        import_checkpoint(tmp_path / "checkpoint.pt", light_encoder, timesteps=[0], generators=GENERATORS)


def test_a_resnet_of_another_depth_is_refused(tmp_path: Path, light_encoder: LatentEncoder) -> None:
    content = PublishedNetwork("resnet18").checkpoint()
    stage = {name.replace("layer3.1", "layer3.2"): value for name, value in content["backbone"].items()}
    content["backbone"] = stage | content["backbone"]
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="3 basic blocks"):
        import_checkpoint(tmp_path / "checkpoint.pt", light_encoder, timesteps=[0], generators=GENERATORS)


class _Executed:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return eval, ("open('executed', 'w').close()",)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path, light_encoder: LatentEncoder) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt"):
        import_checkpoint(path, light_encoder, timesteps=[0], generators=GENERATORS)


def test_code_in_a_checkpoint_is_not_executed(
    tmp_path: Path, light_encoder: LatentEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(PublishedNetwork().checkpoint() | {"args": _Executed()}, "checkpoint.pt")
    with pytest.raises(CheckpointError, match="read safely"):
        import_checkpoint(Path("checkpoint.pt"), light_encoder, timesteps=[0], generators=GENERATORS)
    assert not Path("executed").exists()
