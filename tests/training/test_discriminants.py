from __future__ import annotations

import msgspec
import pytest
import torch

from protoleak.errors import ProtoleakError
from protoleak.model.attributor import Attributor, AttributorConfig
from protoleak.training.discriminants import SHARPNESS, set_discriminants
from protoleak.training.fit import FitResult, fit
from protoleak.training.inputs import Latents, StatisticsInputs
from protoleak.training.noising import Noising
from protoleak.training.settings import TrainingSettings
from protoleak.training.statistics import DISCRIMINANTS_RIDGE, Whitening

SHAPE = (4, 8, 8)
SETTINGS = TrainingSettings(
    backbone="second_order",
    solver="discriminants",
    embedding_size=16,
    prototypes_per_generator=2,
    timesteps=(0, 100),
    low_frequency_components=None,
)


def latents(count: int, seed: int, classes: tuple[int, ...] = (0, 1, 2)) -> Latents:
    """Classes that differ in which channels go together."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.tensor(classes)[torch.arange(count) % len(classes)]
    z0 = torch.randn(count, 1, *SHAPE, generator=random)
    z0[torch.arange(count), 0, labels] += 0.6 * z0[:, 0, 3]
    return Latents(z0, labels)


def solved(
    settings: TrainingSettings = SETTINGS, auxiliary: Latents | None = None, negatives: torch.Tensor | None = None
) -> FitResult:
    config = settings.network(SHAPE, 3 if auxiliary is None else 2)
    classes = tuple(range(config.generators))
    return fit(
        *(config, settings, Noising.of(settings, SHAPE), latents(300, 0, classes), latents(60, 1, classes)),
        *(negatives, "run"),
        auxiliary=auxiliary,
    )


@pytest.mark.parametrize("gate", [True, False])
def test_the_networks_scores_are_the_log_odds_of_linear_discriminant_analysis(gate: bool) -> None:
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 4
    mixing = torch.randn(2, 30, 30, generator=random)
    statistics = torch.einsum("npf,pfg->npg", torch.randn(400, 2, 30, generator=random), mixing)
    statistics += 2 * torch.randn(4, 2, 30, generator=random)[labels]
    shares = torch.rand(400, generator=random)
    shares /= shares.sum()
    whitening = Whitening.of(statistics, labels, shares, DISCRIMINANTS_RIDGE)
    whitened = whitening(statistics)
    network = Attributor(
        AttributorConfig(
            backbone="second_order",
            in_channels=4,
            embedding_size=6,
            generators=4,
            prototypes_per_generator=3,
            timesteps=2,
            gate=gate,
        )
    )
    train, weights, of_class = whitened[:300], shares[:300], labels[:300]
    inputs = StatisticsInputs(whitening, train, whitened[300:], whitened[:0])
    set_discriminants(network, inputs, of_class, weights)
    found = inputs.scores(network, whitened).detach()
    of_each = torch.nn.functional.one_hot(of_class).T * weights
    means = of_each @ train.flatten(1) / of_each.sum(dim=1, keepdim=True)
    expected = whitened.flatten(1) @ means.T - means.square().sum(dim=1) / 2
    odds, expected_odds = found - found[:, :1], expected - expected[:, :1]
    torch.testing.assert_close(odds, SHARPNESS / 2 * expected_odds, rtol=1e-3, atol=1e-3 * float(odds.abs().max()))


def test_classes_are_told_apart_and_every_run_gives_the_same_weights() -> None:
    first, second = solved(), solved(msgspec.structs.replace(SETTINGS, seed=7))
    assert first.curves[0]["validation_macro_auc"] > 0.9
    assert len(first.curves) == first.best_epoch == 1
    for name, tensor in first.attributor.state_dict().items():
        assert torch.equal(tensor, second.attributor.state_dict()[name]), name


def test_the_solved_network_takes_latents_and_weighs_every_look_and_timestep_alike() -> None:
    network = solved().attributor
    validation = latents(60, 1)
    with torch.no_grad():
        found = network(Noising.of(SETTINGS, SHAPE).with_bank(validation.z0))
    assert float((found.class_score.argmax(dim=1) == validation.labels).float().mean()) > 0.8
    torch.testing.assert_close(found.timestep_weight, torch.full((60, 2), 0.5))


def test_auxiliary_classes_keep_their_prototypes_beside_the_named() -> None:
    auxiliary = Latents(latents(100, 2, (2,)).z0, torch.zeros(100, dtype=torch.int64))
    network = solved(auxiliary=auxiliary).attributor
    assert network.prototypes.shape == (2, 2, 16)
    assert network.auxiliary_prototypes.shape == (1, 2, 16)
    assert float((network.auxiliary_prototypes[0] - network.prototypes.detach()).norm(dim=2).min()) > 0.1


def test_what_the_solver_has_no_room_or_use_for_is_refused() -> None:
    with pytest.raises(ProtoleakError, match="give embedding_size = 4 or more"):
        solved(msgspec.structs.replace(SETTINGS, embedding_size=3))
    with pytest.raises(ProtoleakError, match="leave them out"):
        solved(negatives=latents(4, 3).z0)
    with pytest.raises(ProtoleakError, match="give descent"):
        TrainingSettings(solver="discriminants")
