from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch

from protoleak.errors import CheckpointError, EngineError, ProtoleakError
from protoleak.model.attributor import Attributor, AttributorConfig
from protoleak.training.fit import FitResult, fit
from protoleak.training.inputs import Latents, Standardisation
from protoleak.training.noising import Noising
from protoleak.training.settings import TrainingSettings
from protoleak.training.state import STATE_FILE

SHAPE = (2, 8, 8)
SETTINGS = TrainingSettings(
    embedding_size=16,
    prototypes_per_generator=2,
    timesteps=(0, 500),
    low_frequency_components=3,
    epochs=4,
    batch_size=16,
    learning_rate=3e-3,
    seed=5,
)


def latents(count: int, seed: int) -> Latents:
    """Two classes that differ in the sign of a checkerboard."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1.0
    signs = (labels * 2.0 - 1.0).reshape(-1, 1, 1, 1, 1)
    return Latents(torch.randn(count, 1, *SHAPE, generator=random) + 0.5 * signs * board, labels)


def run_fit(
    settings: TrainingSettings,
    state: Path | None = None,
    negatives: torch.Tensor | None = None,
    stop_at: tuple[str, int] | None = None,
    auxiliary: Latents | None = None,
    sets: tuple[Latents, Latents] | None = None,
    standardisation: Standardisation | None = None,
) -> FitResult:
    config = AttributorConfig(
        backbone=settings.backbone,
        in_channels=4,
        embedding_size=settings.embedding_size,
        generators=2,
        prototypes_per_generator=settings.prototypes_per_generator,
        timesteps=len(settings.looks) * len(settings.timesteps),
    )
    noising = Noising.build(settings.timesteps, SHAPE, settings.noise_seed, settings.low_frequency_components)

    def interrupt(stage: str, done: int, _total: int, _note: str = "", /) -> None:
        if (stage, done) == stop_at:
            raise KeyboardInterrupt

    train, validation = sets or (latents(48, 0), latents(16, 1))
    return fit(
        *(config, settings, noising, train, validation, negatives, "run", state),
        progress=interrupt,
        auxiliary=auxiliary,
        standardisation=standardisation,
    )


def weights(network: Attributor) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def assert_same_weights(first: Attributor, second: Attributor) -> None:
    one, two = weights(first), weights(second)
    assert one.keys() == two.keys()
    different = [name for name in one if not torch.equal(one[name], two[name])]
    assert different == []


@pytest.mark.parametrize(("backbone", "compute"), [("conv", "exact"), ("conv", "bf16"), ("resnet18", "auto")])
def test_the_same_seed_gives_identical_weights(backbone: str, compute: str) -> None:
    settings = msgspec.structs.replace(SETTINGS, backbone=backbone, compute=compute, epochs=1)
    assert_same_weights(run_fit(settings).attributor, run_fit(settings).attributor)


def test_another_seed_gives_other_weights() -> None:
    first, second = run_fit(SETTINGS), run_fit(msgspec.structs.replace(SETTINGS, seed=6))
    assert not torch.equal(first.attributor.prototypes, second.attributor.prototypes)


def test_training_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    run_fit(msgspec.structs.replace(SETTINGS, epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_a_run_interrupted_within_an_epoch_and_resumed_gives_the_same_weights(tmp_path: Path) -> None:
    whole = run_fit(SETTINGS)
    state = tmp_path / STATE_FILE
    with pytest.raises(KeyboardInterrupt):
        run_fit(SETTINGS, state, stop_at=("epoch 3 of 4", 2))
    resumed = run_fit(SETTINGS, state)
    assert len(resumed.curves) == SETTINGS.epochs
    assert resumed.curves == whole.curves
    assert resumed.best_epoch == whole.best_epoch
    assert_same_weights(whole.attributor, resumed.attributor)


def test_the_state_of_another_run_is_refused(tmp_path: Path) -> None:
    state = tmp_path / STATE_FILE
    run_fit(msgspec.structs.replace(SETTINGS, epochs=1), state)
    content = torch.load(state, weights_only=True)
    torch.save({**content, "run": "another"}, state)
    with pytest.raises(CheckpointError, match="belongs to a run with other settings"):
        run_fit(SETTINGS, state)


def test_a_damaged_state_is_refused_by_name(tmp_path: Path) -> None:
    state = tmp_path / STATE_FILE
    state.write_bytes(b"not a state")
    with pytest.raises(CheckpointError, match=STATE_FILE):
        run_fit(SETTINGS, state)


def test_two_classes_are_learnt_and_the_best_epoch_is_kept() -> None:
    result = run_fit(msgspec.structs.replace(SETTINGS, epochs=12))
    best = result.curves[result.best_epoch - 1]
    assert best["validation_macro_auc"] > 0.95
    quality = [(round(c["validation_macro_auc"], 6), -c["validation_loss"]) for c in result.curves]
    assert quality[result.best_epoch - 1] == max(quality)


def test_training_stops_when_validation_no_longer_improves() -> None:
    settings = msgspec.structs.replace(SETTINGS, epochs=60, patience=2, learning_rate=0.03)
    result = run_fit(settings)
    assert len(result.curves) == min(60, result.best_epoch + 2)
    assert len(result.curves) < 60


def test_the_temporal_pool_is_trained() -> None:
    short = run_fit(msgspec.structs.replace(SETTINGS, epochs=1))
    with torch.random.fork_rng():
        long = run_fit(SETTINGS)
    name = "temporal_pool.query.weight"
    assert not torch.equal(weights(short.attributor)[name], weights(long.attributor)[name])


def test_negatives_are_given_less_confidence_than_without_them() -> None:
    negatives = torch.randn(64, 1, *SHAPE, generator=torch.Generator().manual_seed(9)) * 2.0
    unseen = torch.randn(64, 1, *SHAPE, generator=torch.Generator().manual_seed(10)) * 2.0
    settings = msgspec.structs.replace(SETTINGS, epochs=12, mixed_negatives=False)
    noising = Noising.build(settings.timesteps, SHAPE, settings.noise_seed, settings.low_frequency_components)

    def confidence(network: Attributor) -> float:
        with torch.no_grad():
            probability = network(noising.with_bank(unseen)).class_score.softmax(dim=1)
        return float(probability.max(dim=1).values.mean())

    with_them = confidence(run_fit(settings, negatives=negatives).attributor)
    without = confidence(run_fit(settings).attributor)
    assert with_them < without - 0.05


def stripes(count: int, seed: int) -> Latents:
    """Two other classes, striped along rows and along columns."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    rows = (torch.arange(8)[:, None] % 2 * 2.0 - 1.0).expand(8, 8)
    signs = torch.where((labels == 0).reshape(-1, 1, 1, 1, 1), rows, rows.T)
    return Latents(torch.randn(count, 1, *SHAPE, generator=random) + 0.8 * signs, labels)


def test_auxiliary_classes_are_told_apart_in_the_embedding_and_have_no_prototype_of_their_own() -> None:
    settings = msgspec.structs.replace(SETTINGS, epochs=16)
    noising = Noising.build(settings.timesteps, SHAPE, settings.noise_seed, settings.low_frequency_components)
    unseen = stripes(64, 3)

    def separation(network: Attributor) -> float:
        """Of the two striped classes, along the line between their means, in standard deviations."""
        assert network.prototypes.shape == (2, 2, 16)
        with torch.no_grad():
            embedding = network(noising.with_bank(unseen.z0)).embedding
        first, second = embedding[unseen.labels == 0], embedding[unseen.labels == 1]
        line = second.mean(dim=0) - first.mean(dim=0)
        spread = torch.cat([(first - first.mean(dim=0)) @ line, (second - second.mean(dim=0)) @ line]).std()
        return float(line.square().sum() / spread)

    with_them = run_fit(settings, auxiliary=stripes(48, 2))
    assert separation(with_them.attributor) > 1.3 * separation(run_fit(settings).attributor)
    assert with_them.curves[with_them.best_epoch - 1]["validation_macro_auc"] > 0.95  # of the two classes alone


def test_a_run_with_auxiliary_classes_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = run_fit(SETTINGS, auxiliary=stripes(24, 2))
    with pytest.raises(KeyboardInterrupt):
        run_fit(SETTINGS, tmp_path / STATE_FILE, stop_at=("epoch 3 of 4", 1), auxiliary=stripes(24, 2))
    resumed = run_fit(SETTINGS, tmp_path / STATE_FILE, auxiliary=stripes(24, 2))
    assert_same_weights(whole.attributor, resumed.attributor)


def test_standardised_latents_teach_the_same_whatever_the_encoders_scale_and_offset() -> None:
    """The network sees (z0 − mean) / spread: a latent encoder with other units gives the same training."""
    settings = msgspec.structs.replace(SETTINGS, epochs=2)
    offset = torch.tensor([5.0, -3.0]).reshape(2, 1, 1)
    found = []
    for scale, shift in ((1.0, 0.0), (8.0, 1.0)):  # a power of two: no rounding of the scale
        sets = [Latents(scale * each.z0 + shift * offset, each.labels) for each in (latents(48, 0), latents(16, 1))]
        standardisation = Standardisation.of(sets[0].z0)
        z0 = standardisation(sets[0].z0)
        assert z0.mean(dim=(0, 1, 3, 4)).tolist() == pytest.approx([0, 0], abs=1e-4)
        assert z0.std(dim=(0, 1, 3, 4)).tolist() == pytest.approx([1, 1], abs=1e-4)
        found.append(run_fit(settings, sets=(sets[0], sets[1]), standardisation=standardisation))
    for one, other in zip(found[0].curves, found[1].curves, strict=True):
        assert one == pytest.approx(other, rel=1e-2, abs=1e-3)  # float32 rounding of the offset, over six steps


def test_latents_in_half_precision_are_standardised_in_full() -> None:
    z0 = latents(48, 0).z0 * 50
    standardisation = Standardisation.of(z0.half())
    assert standardisation(z0.half()).dtype == torch.float32
    torch.testing.assert_close(standardisation.mean, Standardisation.of(z0).mean, atol=0.05, rtol=0)


def test_a_network_with_two_looks_learns_from_the_one_that_shows_something() -> None:
    settings = msgspec.structs.replace(SETTINGS, epochs=14, looks=("face", "image"))
    sets = []
    for count, seed in ((48, 0), (16, 1)):
        told = latents(count, seed)
        noise = torch.randn(told.z0.shape, generator=torch.Generator().manual_seed(seed + 7))
        sets.append(Latents(torch.cat([noise, told.z0], dim=1), told.labels))
    result = run_fit(settings, sets=(sets[0], sets[1]))
    assert result.curves[result.best_epoch - 1]["validation_macro_auc"] > 0.9
    assert result.attributor.config.timesteps == 4


def test_a_diverging_run_says_to_lower_the_learning_rate() -> None:
    with pytest.raises(EngineError, match="lower the learning rate"):
        run_fit(msgspec.structs.replace(SETTINGS, epochs=30, learning_rate=1e30))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "resnet19"}, "choose one of conv"),
        ({"timesteps": ()}, "give at least one"),
        ({"timesteps": (100, 100)}, "give each once"),
        ({"timesteps": (0, 1000)}, "0 to 999"),
        ({"backbone": "resnet18", "compute": "bf16"}, "give exact or auto"),
        ({"batch_size": 1}, "2 or more"),
        ({"timestep_dropout": 1.0}, "timestep_dropout is 1.0"),
        ({"low_frequency_components": 0}, "or none to leave them out"),
        ({"image_size": 250}, "multiple of 8"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"views": -1}, "views is -1"),
        ({"looks": ()}, "looks is 0: give some of image, face, native"),
        ({"looks": ("face", "profile")}, "choose one of image"),
        ({"looks": ("face", "face")}, "name one twice"),
        ({"face_margin": -0.1}, "face_margin is -0.1"),
        ({"real_turns": 0}, "real_turns is 0"),
    ],
)
def test_settings_that_make_no_sense_name_the_remedy(change: dict[str, object], message: str) -> None:
    with pytest.raises(ProtoleakError, match=message):
        TrainingSettings(**change)  # type: ignore[arg-type]


def test_more_low_frequency_components_than_the_latent_has_is_refused_with_the_largest_number() -> None:
    with pytest.raises(ProtoleakError, match="at most 8"):
        msgspec.structs.replace(SETTINGS, low_frequency_components=9).check_latent(SHAPE)
