from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from protoleak.diffusion import NoiseSchedule, noise_bank, noised_latents
from protoleak.model.attributor import Attributor, AttributorConfig
from protoleak.training.batches import balanced_order, batches
from protoleak.training.descent import dropped_positions
from protoleak.training.inputs import embed_kept
from protoleak.training.losses import class_loss, entropy_loss, mixed_negatives, uniform_loss
from protoleak.training.noising import Noising

TIMESTEPS = (0, 100, 700)
SHAPE = (4, 12, 10)


@pytest.mark.parametrize("components", [None, 3])
def test_noising_with_the_bank_agrees_with_the_reference_formulas_look_by_look(components: int | None) -> None:
    z0 = np.random.default_rng(0).normal(size=(5, 3, *SHAPE)).astype(np.float32)
    factors = NoiseSchedule().coefficients(TIMESTEPS)
    bank = noise_bank(7, TIMESTEPS, SHAPE)
    looks = [noised_latents(z0[:, look], bank, *factors, components) for look in range(3)]
    expected = np.concatenate(looks, axis=1)
    got = Noising.build(TIMESTEPS, SHAPE, 7, components).with_bank(torch.from_numpy(z0)).numpy()
    # float32 sums in another order: a few units in the last place of values up to about 150
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-4)


def test_fresh_noise_differs_between_images_and_timesteps_and_has_unit_variance() -> None:
    torch.manual_seed(0)
    noising = Noising.build(TIMESTEPS, SHAPE, 7, None)
    every = torch.ones(64, len(TIMESTEPS), dtype=torch.bool)
    z_t = noising.with_fresh_noise(torch.zeros(64, 1, *SHAPE), every).unflatten(0, every.shape)
    noise = z_t / noising.noise_factor
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(noise[:, 0], noise[:, 1])
    assert float(noise.var()) == pytest.approx(1.0, abs=0.02)  # 92,160 draws: standard error 0.005


def test_low_frequency_half_of_fresh_noise_is_the_projection_of_the_same_noise() -> None:
    torch.manual_seed(0)
    noising = Noising.build(TIMESTEPS, SHAPE, 7, 3)
    z_t = noising.with_fresh_noise(torch.randn(2, 1, *SHAPE), torch.ones(2, len(TIMESTEPS), dtype=torch.bool))
    assert noising.projections is not None
    left, right = noising.projections
    torch.testing.assert_close(z_t[:, 4:], left @ z_t[:, :4] @ right.T, rtol=1e-4, atol=1e-4)


def test_only_wanted_positions_are_noised_each_with_its_look_and_factors_in_the_order_of_images() -> None:
    noising = Noising.build(TIMESTEPS, SHAPE, 7, None)
    silent = replace(noising, noise_factor=torch.zeros_like(noising.noise_factor))
    z0 = torch.randn(3, 2, *SHAPE)
    wanted = torch.zeros(3, 2 * len(TIMESTEPS), dtype=torch.bool)
    wanted[2, 3] = wanted[0, 1] = wanted[2, 2] = True
    z_t = silent.with_fresh_noise(z0, wanted, torch.bfloat16)
    assert z_t.dtype == torch.bfloat16
    factors = noising.latent_factor
    expected = torch.stack([z0[0, 0] * factors[1], z0[2, 0] * factors[2], z0[2, 1] * factors[0]])
    torch.testing.assert_close(z_t, expected.to(torch.bfloat16))


def test_entropy_loss_is_zero_for_equal_weights_and_log_t_for_a_single_timestep() -> None:
    assert float(entropy_loss(torch.full((3, 5), 0.2))) == pytest.approx(0.0, abs=1e-6)
    assert float(entropy_loss(torch.eye(5))) == pytest.approx(math.log(5), abs=1e-6)


def test_uniform_loss_is_least_where_all_classes_score_the_same() -> None:
    assert float(uniform_loss(torch.full((2, 4), -3.0))) == pytest.approx(math.log(4), abs=1e-6)
    assert float(uniform_loss(torch.tensor([[5.0, 0.0, 0.0, 0.0]]))) > math.log(4)


def test_class_loss_falls_when_the_right_class_scores_higher() -> None:
    labels = torch.tensor([1])
    assert class_loss(torch.tensor([[0.0, 2.0]]), labels) < class_loss(torch.tensor([[0.0, 1.0]]), labels)


def test_mixed_negatives_always_mix_two_classes_in_shares_of_three_to_seven_tenths() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 1])
    z0 = labels.float().reshape(-1, 1, 1, 1, 1).expand(-1, 2, 1, 3, 3)  # a mix of two classes is neither 0 nor 1
    mixed = mixed_negatives(z0, labels, 500)
    assert mixed.shape == (500, 2, 1, 3, 3)
    assert float(mixed.min()) >= 0.3 - 1e-6
    assert float(mixed.max()) <= 0.7 + 1e-6


def test_a_batch_of_one_class_gives_no_mixed_negatives() -> None:
    assert len(mixed_negatives(torch.zeros(4, 1, 1, 2, 2), torch.zeros(4, dtype=torch.int64), 2)) == 0


def test_every_class_comes_equally_often_whatever_its_size() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([0] * 90 + [1] * 9 + [2] * 3)
    order = balanced_order(labels, 102)
    assert torch.bincount(labels[order]).tolist() == [34, 34, 34]
    assert torch.bincount(order, minlength=102)[99:].min() >= 11  # the rare class is dealt out evenly


def test_sources_take_turns_within_their_class_whatever_their_size() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([0] * 100 + [1] * 100)
    sources = torch.tensor([0] * 90 + [1] * 9 + [2] + [0] * 100)
    order = balanced_order(labels, 120, sources)
    assert torch.bincount(labels[order]).tolist() == [60, 60]
    assert torch.bincount(sources[order[labels[order] == 0]]).tolist() == [20, 20, 20]
    dealt = torch.bincount(order, minlength=200)
    assert int(dealt[99]) == 20  # the one image of its source, every time
    assert set(dealt[90:99].tolist()) == {2, 3}  # each of nine before any comes again
    assert int(dealt[:90].max()) == 1


def test_a_class_with_more_turns_comes_that_much_more_often_and_the_others_equally() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([0] * 50 + [1] * 5 + [2] * 30)
    order = balanced_order(labels, 80, turns_of={2: 2})
    assert torch.bincount(labels[order]).tolist() == [20, 20, 40]
    for first in range(0, 80, 4):  # in every round, so that every batch sees all of them
        assert torch.bincount(labels[order[first : first + 4]]).tolist() == [1, 1, 2]


@settings(deadline=None)  # PyTorch's first call of a kernel takes longer than the usual deadline
@given(
    labels=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=60),
    count=st.integers(1, 100),
    turns=st.integers(1, 3),
)
def test_any_classes_and_sources_give_so_many_of_their_own_latents(
    labels: list[tuple[int, int]], count: int, turns: int
) -> None:
    of_class, of_source = (torch.tensor(each) for each in zip(*labels, strict=True))
    order = balanced_order(of_class, count, of_source, {0: turns})
    assert order.shape == (count,)
    assert order.dtype == torch.int64
    assert int(order.min()) >= 0
    assert int(order.max()) < len(labels)
    others = torch.bincount(of_class[order], minlength=4)[torch.unique(of_class[of_class > 0])]
    if len(others):
        assert int(others.max() - others.min()) <= 1


@pytest.mark.parametrize(
    ("positions", "share", "count"), [(1, 0.9, 0), (3, 0.0, 0), (3, 0.4, 1), (9, 0.5, 4), (3, 0.99, 2)]
)
def test_every_image_drops_the_same_number_of_positions_and_never_all(positions: int, share: float, count: int) -> None:
    torch.manual_seed(0)
    dropped = dropped_positions(200, positions, share)
    assert (dropped.sum(dim=1) == count).all()
    if count > 0:
        shares = dropped.float().mean(dim=0).tolist()
        assert shares == pytest.approx([count / positions] * positions, abs=0.15)  # no favourite


def test_no_batch_holds_a_single_image() -> None:
    assert [len(part) for part in batches(torch.arange(9), 4)] == [4, 5]


def test_skipping_dropped_timesteps_pools_the_same_as_leaving_them_out_of_the_pool() -> None:
    torch.manual_seed(0)
    config = AttributorConfig(
        backbone="conv", in_channels=2, embedding_size=8, generators=2, prototypes_per_generator=2, timesteps=3
    )
    network = Attributor(config).eval()  # in evaluation mode batch normalisation doesn't see which are skipped
    z_t = torch.randn(4, 3, 2, 8, 8)
    dropped = torch.tensor([[0, 0, 0], [1, 0, 1], [0, 1, 1], [0, 1, 0]], dtype=torch.bool)
    expected = network.pool(*network.embed_timesteps(z_t), dropped.clone())
    got = network.pool(*embed_kept(network, z_t[~dropped], dropped), dropped)
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
