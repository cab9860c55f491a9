from __future__ import annotations

from collections import Counter

import torch

from protoleak.model.second_order import LARGEST_STATISTIC, second_order_features
from protoleak.training.batches import balanced_order
from protoleak.training.noising import Noising
from protoleak.training.statistics import RIDGE, Whitening, draw_shares, statistics_of


def test_whitened_statistics_have_the_identity_for_their_covariance_within_classes_but_for_the_ridge() -> None:
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(6000) % 3
    mixing = torch.randn(2, 5, 5, generator=random)
    within = torch.einsum("npf,pfg->npg", torch.randn(6000, 2, 5, generator=random), mixing)
    statistics = within + 4 * torch.randn(3, 2, 5, generator=random)[labels]
    weights = torch.full((6000,), 1 / 6000)
    whitened = Whitening.of(statistics, labels, weights)(statistics)
    for position in range(2):
        of_position = whitened[:, position]
        centred = torch.cat([of_position[labels == k] - of_position[labels == k].mean(dim=0) for k in range(3)])
        values = torch.linalg.eigvalsh(centred.T @ centred / 6000)
        assert float(values.max()) <= 1.0
        assert float(values.median()) > 1 / (1 + 20 * RIDGE)
        deviation = (within[:, position]).std(dim=0)
        scaled = torch.linalg.eigvalsh(torch.corrcoef((within[:, position] / deviation).T))
        torch.testing.assert_close(values.sort().values, (scaled / (scaled + RIDGE)).sort().values, rtol=0.1, atol=0.02)


def test_a_statistic_that_never_varies_stays_finite_and_one_far_away_is_bounded() -> None:
    statistics = torch.randn(50, 1, 4, generator=torch.Generator().manual_seed(0))
    statistics[:, :, 2] = 1.0
    whitening = Whitening.of(statistics, torch.arange(50) % 2, torch.full((50,), 0.02))
    far = whitening(torch.full((1, 1, 4), 1e9))
    assert torch.isfinite(far).all()
    bound = LARGEST_STATISTIC * whitening.matrix.abs().sum(dim=1).max()
    assert float(far.abs().max()) <= float(bound)


def test_shares_are_those_of_the_balanced_order() -> None:
    labels = torch.tensor([0] * 30 + [1] * 6 + [2] * 4)
    sources = torch.tensor([0] * 20 + [1] * 10 + [0] * 6 + [3] * 1 + [5] * 3)
    torch.manual_seed(0)
    order = balanced_order(labels, 6000, sources, {0: 3})
    drawn = Counter(order.tolist())
    found = torch.tensor([drawn[index] / 6000 for index in range(len(labels))])
    torch.testing.assert_close(found, draw_shares(labels, sources, {0: 3}), rtol=0.03, atol=1e-4)


def test_statistics_are_those_of_the_noised_latents_with_the_frozen_noise() -> None:
    noising = Noising.build((0, 300), (2, 8, 8), 7, None)
    z0 = torch.randn(70, 3, 2, 8, 8)
    found = statistics_of(z0.half(), noising, lambda z: z.float() * 2)
    z_t = noising.with_bank(z0.half().float() * 2)
    expected = second_order_features(z_t.flatten(0, 1)).reshape(70, 6, -1)
    torch.testing.assert_close(found, expected)
