"""Schedules and samplers against their published formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest

from protoleak.arrays import Float32Array, Float64Array
from zoo.samplers import ddim_levels, karras_levels, sample
from zoo.schedules import ScheduleName, alpha_bar, noise_levels

SCHEDULES: tuple[ScheduleName, ...] = get_args(ScheduleName)
Levels = Callable[[ScheduleName, float, int], Float64Array]
SHAPE = (2, 3, 4, 4)


def normals(seed: int) -> Float32Array:
    return np.random.default_rng(seed).standard_normal(SHAPE, dtype=np.float32)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_signal_falls_from_nearly_all_of_it(schedule: ScheduleName) -> None:
    signal = alpha_bar(schedule)
    assert signal.shape == (1000,)
    assert signal[0] > 0.99
    assert np.all(np.diff(signal) < 0)


def test_only_the_rescaled_schedule_ends_without_signal() -> None:
    assert alpha_bar("zero_terminal")[-1] == 0
    assert np.isinf(noise_levels("zero_terminal")[-1])
    assert all(alpha_bar(schedule)[-1] > 0 for schedule in SCHEDULES if schedule != "zero_terminal")


def test_rescaling_keeps_the_first_timestep() -> None:
    # Both are square roots and back in float64.
    assert alpha_bar("zero_terminal")[0] == pytest.approx(alpha_bar("linear")[0], rel=1e-12)


def test_schedules_hold_different_noise_where_sampling_starts() -> None:
    starts = [ddim_levels(schedule, 0.4, 8)[0] for schedule in SCHEDULES]
    assert np.min(np.diff(np.sort(starts))) > 0.01


@pytest.mark.parametrize("levels_of", [ddim_levels, karras_levels])
def test_levels_fall_from_the_strength_asked_to_zero(levels_of: Levels) -> None:
    levels = levels_of("linear", 0.5, 10)
    assert len(levels) == 11
    assert levels[0] == pytest.approx(noise_levels("linear")[499])
    assert levels[-2] == pytest.approx(noise_levels("linear")[0])
    assert levels[-1] == 0
    assert np.all(np.diff(levels) < 0)


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_a_start_without_signal_or_without_noise_is_refused(strength: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        ddim_levels("zero_terminal", strength, 4)


def test_a_perfect_denoiser_gives_the_latents_back() -> None:
    latents, noise = normals(0), normals(1)

    def velocity(_: Float32Array, log_snr: float) -> Float32Array:
        alpha, sigma = 1 / np.hypot(1, np.exp(-log_snr / 2)), 1 / np.hypot(1, np.exp(log_snr / 2))
        return np.asarray(alpha * noise - sigma * latents, dtype=np.float32)

    restored = sample(velocity, latents, noise, ddim_levels("cosine", 0.7, 6))
    np.testing.assert_allclose(restored, latents, atol=1e-5)  # float32 sums of a few steps


def test_a_step_is_that_of_ddim() -> None:
    """Song et al. 2021, equation 12 with η = 0, on a denoiser that is no constant."""
    latents, noise = normals(2), normals(3)
    levels = ddim_levels("scaled_linear", 0.6, 5)

    def velocity(z: Float32Array, log_snr: float) -> Float32Array:
        return np.asarray(np.tanh(z) * np.float32(0.3 + 0.01 * log_snr), dtype=np.float32)

    alphas = 1 / np.hypot(1, levels)
    sigmas = levels * alphas
    z = alphas[0] * latents + sigmas[0] * noise
    for index, level in enumerate(levels[:-1]):
        v = velocity(z.astype(np.float32), float(-2 * np.log(level)))
        z0, epsilon = alphas[index] * z - sigmas[index] * v, sigmas[index] * z + alphas[index] * v
        z = alphas[index + 1] * z0 + sigmas[index + 1] * epsilon
    np.testing.assert_allclose(sample(velocity, latents, noise, levels), z, atol=1e-5)  # float32 against float64
