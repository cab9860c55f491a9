"""What a student's error costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from protoleak.distillation.loss import PART, DistillationLoss
from protoleak.distillation.settings import DistillationSettings
from protoleak.errors import ProtoleakError

CHANNELS, SIDE = 3, 8
# Statistics and errors are float32 here, summed over some 10⁴ values, against float64: 1e-5 or so. Whitening amplifies
# that by the ratio of the largest to the smallest direction, which is about 200 in these latents.
ROUNDING, AMPLIFIED = 1e-5, 2e-3


@pytest.fixture(scope="module")
def latents() -> np.ndarray:
    """Channels of unlike size, of which the first two differ by little."""
    random = np.random.default_rng(0)
    shared, faint, own = random.normal(size=(3, PART + 9, SIDE, SIDE))
    channels = np.stack([3 * shared + 1, 0.5 * (shared + 0.1 * faint), own], axis=1)
    return channels.astype(np.float32)


def standardised(latents: np.ndarray) -> np.ndarray:
    return (latents - latents.mean((0, 2, 3), keepdims=True)) / latents.std((0, 2, 3), keepdims=True)


def test_whole_whitening_makes_the_teachers_channels_uncorrelated(latents: np.ndarray) -> None:
    whitening = DistillationLoss.of(latents, 1.0).whitening.numpy()
    white = np.einsum("dc,nchw->dnhw", whitening, standardised(latents)).reshape(CHANNELS, -1)
    np.testing.assert_allclose(np.cov(white), np.eye(CHANNELS), atol=AMPLIFIED)


def test_a_faint_direction_counts_as_much_as_a_strong_one(latents: np.ndarray) -> None:
    values, directions = np.linalg.eigh(np.corrcoef(standardised(latents).transpose(1, 0, 2, 3).reshape(CHANNELS, -1)))
    assert values[0] < 0.02 * values[-1]
    faint, strong = (
        np.sqrt(values[at])
        * torch.from_numpy(directions[:, at]).float().reshape(1, CHANNELS, 1, 1).expand(-1, -1, 2, 2)
        for at in (0, -1)
    )

    def cost(error: torch.Tensor, whitening: float) -> float:
        loss = DistillationLoss.of(latents, whitening)
        teacher = loss.mean[:, None, None].expand(1, -1, 2, 2)
        return float(loss(error, teacher)[0])

    assert cost(faint, 1.0) == pytest.approx(cost(strong, 1.0), rel=AMPLIFIED)
    assert cost(faint, 0.0) == pytest.approx(cost(strong, 0.0) * values[0] / values[-1], rel=AMPLIFIED)
    assert cost(faint, 0.0) < cost(faint, 0.5) < cost(faint, 1.0)


def test_without_whitening_it_is_the_squared_error_at_every_scale(latents: np.ndarray) -> None:
    loss = DistillationLoss.of(latents, 0.0)
    given = torch.from_numpy(latents[:4])
    predicted = torch.from_numpy(standardised(latents)[:4]) + torch.randn(
        given.shape, generator=torch.Generator().manual_seed(0)
    )
    total, exact = loss(predicted, given)
    error = (predicted.numpy() - standardised(latents)[:4]).astype(np.float64)
    expected = 0.0
    for side in (1, 2, 4, 8):
        means = error.reshape(4, CHANNELS, SIDE // side, side, SIDE // side, side).mean(axis=(3, 5))
        expected += float(np.square(means).mean())
    assert float(total) == pytest.approx(expected, rel=ROUNDING)
    assert float(exact) == pytest.approx(float(np.square(error).mean()), rel=ROUNDING)


def test_a_constant_leak_costs_at_every_scale_and_noise_at_the_finest(latents: np.ndarray) -> None:
    loss = DistillationLoss.of(latents, 0.0)
    teacher = loss.mean[:, None, None].expand(64, -1, SIDE, SIDE)
    leak = torch.full((64, CHANNELS, SIDE, SIDE), 0.5)
    noise = 0.5 * torch.randn(64, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    assert float(loss(leak, teacher)[0]) == pytest.approx(4 * 0.25, rel=ROUNDING)
    # 192 means of whole windows are squared and averaged: a tenth of 1/64 of it is their deviation, far below this.
    assert float(loss(noise, teacher)[0]) == pytest.approx((1 + 1 / 4 + 1 / 16 + 1 / 64) * 0.25, rel=0.05)


def test_channels_that_say_the_same_are_no_reason_to_fail() -> None:
    channel = np.random.default_rng(0).normal(size=(20, 1, SIDE, SIDE)).astype(np.float32)
    loss = DistillationLoss.of(np.concatenate([channel, channel], axis=1), 1.0)
    assert bool(torch.isfinite(loss.whitening).all())


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused_with_its_value(share: float) -> None:
    with pytest.raises(ProtoleakError, match=r"whitening is .*: give a share from 0 to 1"):
        DistillationSettings(whitening=share)
