"""The parts of the attribution network, each against its formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from protoleak.model.attributor import Attributor, AttributorConfig


def _network(**changes: Any) -> Attributor:
    settings: dict[str, Any] = {
        "backbone": "conv",
        "in_channels": 4,
        "embedding_size": 8,
        "generators": 3,
        "prototypes_per_generator": 2,
        "timesteps": 3,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Attributor(AttributorConfig(**(settings | changes))).eval()


def _embeddings(images: int = 4, timesteps: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    h = torch.randn(images, timesteps, 8, generator=generator)
    return h, torch.rand(images, timesteps, 8, generator=generator)


@pytest.mark.parametrize("temporal", ["attention", "uniform"])
def test_what_is_dropped_weighs_nothing_and_the_rest_as_it_would_alone(temporal: str) -> None:
    network, without = _network(temporal=temporal), _network(temporal=temporal, timesteps=2)
    without.load_state_dict(network.state_dict())
    h, g = _embeddings()
    for index in range(3):
        dropped = torch.zeros(4, 3, dtype=torch.bool)
        dropped[:, index] = True
        kept = [position for position in range(3) if position != index]
        embedding, gate, weight = network.pool(h, g, dropped)
        alone = without.pool(h[:, kept], g[:, kept])
        for found, expected in zip((embedding, gate, weight[:, kept]), alone, strict=True):
            torch.testing.assert_close(found, expected)
        assert not weight[:, index].any()


def test_an_image_whose_timesteps_are_all_dropped_keeps_its_first() -> None:
    network = _network()
    h, g = _embeddings()
    dropped = torch.ones(4, 3, dtype=torch.bool)
    first_kept = dropped.clone()
    first_kept[:, 0] = False
    for found, expected in zip(network.pool(h, g, dropped), network.pool(h, g, first_kept), strict=True):
        torch.testing.assert_close(found, expected)
    assert dropped.all()  # the caller's mask is left as it was


def test_without_a_gate_every_feature_weighs_one_even_where_timesteps_are_dropped() -> None:
    network = _network(gate=False)
    h, g = network.embed_timesteps(torch.randn(2, 3, 4, 16, 16))
    dropped = torch.tensor([[True, False, False], [True, True, True]])
    assert torch.equal(network.pool(h, g, dropped)[1], torch.ones(2, 8))


def test_uniform_pooling_is_the_mean_over_timesteps() -> None:
    h, g = _embeddings()
    embedding, gate, weight = _network(temporal="uniform").pool(h, g)
    torch.testing.assert_close(embedding, h.mean(dim=1))
    torch.testing.assert_close(gate, g.mean(dim=1))
    torch.testing.assert_close(weight, torch.full((4, 3), 1 / 3))


def test_with_one_timestep_nothing_is_pooled_or_dropped() -> None:
    h, g = _embeddings(timesteps=1)
    embedding, gate, weight = _network(timesteps=1).pool(h, g, torch.ones(4, 1, dtype=torch.bool))
    assert torch.equal(embedding, h[:, 0])
    assert torch.equal(gate, g[:, 0])
    assert torch.equal(weight, torch.ones(4, 1))


@pytest.mark.parametrize(("log_tau", "tau"), [(0.2, float(np.exp(0.2))), (-9.0, 0.5), (9.0, 5.0)])
def test_the_temperature_of_the_class_score_is_clamped(log_tau: float, tau: float) -> None:
    network = _network()
    with torch.no_grad():
        network.lse_agg.log_tau.fill_(log_tau)
    distance = torch.rand(4, 3, 2, generator=torch.Generator().manual_seed(3)) * 4
    expected = tau * np.log(np.exp(-distance.double().numpy() / tau).sum(axis=2))
    np.testing.assert_allclose(
        network.class_score(distance).detach().numpy(), expected, rtol=1e-5, atol=1e-6
    )  # float32


def test_the_class_score_stays_finite_for_distances_whose_exponential_is_zero() -> None:
    score = _network().class_score(torch.full((1, 3, 2), 1e6))
    assert torch.isfinite(score).all()


def test_levelled_components_give_log_probabilities_and_leave_every_margin_as_it_was() -> None:
    plain, levelled, whole = _network(), _network(levelled=5), _network(levelled=8)
    z_t = torch.randn(4, 3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before, after = plain(z_t), levelled(z_t)
        shift = after.class_score - before.class_score
        torch.testing.assert_close(shift, shift[:, :1].expand_as(shift))
        difference = before.embedding[:, None, None, :5] - plain.prototypes[..., :5]
        distance = (before.gate[:, None, None, :5] * difference.square()).sum(dim=-1)
        torch.testing.assert_close(shift[:, 0], -torch.logsumexp(plain.class_score(distance), dim=1))
        log_probability = torch.log_softmax(before.class_score, dim=1)
        torch.testing.assert_close(whole(z_t).class_score, log_probability)
    torch.testing.assert_close(after.prototype_distance, before.prototype_distance)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"backbone": "vgg"}, "vgg"),
        ({"generators": 1}, "1 generators"),
        ({"timesteps": 0}, "timesteps is 0"),
        ({"vit_image_size": 100}, "100"),
        ({"levelled": 9}, "levelled is 9"),
        ({"hidden": 0}, "hidden is 0"),
    ],
)
def test_a_network_that_cannot_be_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        _network(**change)


@pytest.mark.parametrize("kind", ["conv", "resnet18"])
def test_gradients_reach_every_parameter(kind: str) -> None:
    network = _network(backbone=kind).train()
    outputs = network(torch.randn(4, 3, 4, 32, 32, generator=torch.Generator().manual_seed(4)))
    torch.nn.functional.cross_entropy(outputs.class_score * 10, torch.tensor([0, 1, 2, 0])).backward()
    # The temporal pool's bias shifts all timesteps alike and softmax takes that away: its gradient is rounding at most.
    untouched = [
        name
        for name, parameter in network.named_parameters()
        if name != "temporal_pool.query.bias" and (parameter.grad is None or not parameter.grad.abs().sum() > 0)
    ]
    assert untouched == []
