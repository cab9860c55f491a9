"""The diffusion mathematics against the published numbers, slow references, and its own invariants."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protoleak.diffusion import (
    NoiseSchedule,
    low_frequency_projection,
    low_frequency_projections,
    noise_bank,
    noised_latents,
    with_low_frequency,
)


def test_the_schedule_equals_the_published_one_at_every_timestep(shared: Path) -> None:
    with np.load(shared / "reference" / "conv-multistep" / "expected.npz") as expected:
        alpha, sigma = NoiseSchedule().alphas_sigmas(tuple(range(1000)))
        # Recorded in float32 by code that multiplied 1000 factors in float32: 1000 roundings of 6e-8, at most.
        np.testing.assert_allclose(alpha, expected["alpha_t"], rtol=6e-5)
        np.testing.assert_allclose(sigma, expected["sigma_t"], rtol=6e-5)


def test_recorded_noise_gives_the_recorded_noised_latents(shared: Path) -> None:
    with np.load(shared / "reference" / "conv-multistep" / "expected.npz") as expected:
        timesteps = tuple(int(t) for t in expected["t_steps"])
        noised = noised_latents(
            expected["forward/z0"], expected["forward/eps"], *NoiseSchedule().coefficients(timesteps), None
        )
        reference = expected["forward/z_t"]
    spread = reference.std(axis=0).max()
    assert np.abs(noised - reference).max() <= 1e-4 * spread  # the stated fidelity


def test_timestep_outside_the_schedule_is_refused_by_its_number() -> None:
    with pytest.raises(ValueError, match="1000"):
        NoiseSchedule().alphas_sigmas((0, 1000))


def test_noise_factor_is_one_because_everything_is_divided_by_sigma() -> None:
    _, noise_factor = NoiseSchedule().coefficients((0, 100, 999))
    np.testing.assert_allclose(noise_factor, 1.0, rtol=1e-6)  # 1e-12 / σ_0 is 3e-11, the rest is float32


@given(st.integers(0, 2**64 - 1), st.integers(0, 999), st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_noise_of_a_timestep_does_not_depend_on_the_other_timesteps(seed: int, first: int, second: int) -> None:
    together = noise_bank(seed, (first, second), (2, 3, 5))
    np.testing.assert_array_equal(noise_bank(seed, (second,), (2, 3, 5))[0], together[1])


def test_noise_equals_box_muller_of_the_raw_philox_stream_one_number_at_a_time() -> None:
    seed, timestep, shape = 7, 300, (3, 5, 7)
    count = math.prod(shape)
    pairs = (count + 1) // 2
    raw = np.random.Philox(key=np.array([seed, timestep], dtype=np.uint64)).random_raw(2 * pairs)
    uniform = [(int(value) >> 11) / 2**53 for value in raw]
    radius = [math.sqrt(-2 * math.log1p(-u)) for u in uniform[:pairs]]
    angle = [2 * math.pi * u for u in uniform[pairs:]]
    normals = [r * math.cos(a) for r, a in zip(radius, angle, strict=True)]
    normals += [r * math.sin(a) for r, a in zip(radius, angle, strict=True)]
    # NumPy's vectorised cos and log may differ from libm's in the last bit before the rounding to float32.
    np.testing.assert_allclose(noise_bank(seed, (timestep,), shape).ravel(), normals[:count], rtol=2e-7, atol=1e-12)


def test_noise_is_standard_normal() -> None:
    values = np.sort(noise_bank(1, (500,), (4, 128, 128)).ravel().astype(np.float64))
    n = len(values)
    assert abs(values.mean()) < 5 / math.sqrt(n)  # five standard errors; the seed is fixed, so this cannot flicker
    assert abs(values.var() - 1) < 5 * math.sqrt(2 / n)
    expected = np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in values])
    distance = np.abs(expected - (np.arange(n) + 0.5) / n).max()
    assert distance < 1.63 / math.sqrt(n)  # Kolmogorov–Smirnov at 1 %


def test_noise_of_different_timesteps_and_seeds_is_uncorrelated() -> None:
    shape = (4, 64, 64)
    planes = [noise_bank(0, (0, 1, 100), shape).reshape(3, -1), noise_bank(1, (0,), shape).reshape(1, -1)]
    correlation = np.corrcoef(np.concatenate(planes)) - np.eye(4)
    assert np.abs(correlation).max() < 5 / math.sqrt(math.prod(shape))  # five standard errors


@given(st.integers(1, 48), st.data())
@settings(max_examples=40, deadline=None)
def test_projection_is_symmetric_idempotent_and_of_the_asked_rank(size: int, data: st.DataObject) -> None:
    components = data.draw(st.integers(1, size))
    projection = low_frequency_projection(size, components)
    np.testing.assert_array_equal(projection, projection.T)
    np.testing.assert_allclose(projection @ projection, projection, atol=1e-6)  # entries ≤ 1, float32 sums of ≤ 48
    assert float(np.trace(projection)) == pytest.approx(components, abs=1e-4)


def test_projection_keeps_the_low_cosines_and_removes_the_high_ones() -> None:
    size, components = 16, 5
    position = np.arange(size) + 0.5
    projection = low_frequency_projection(size, components)
    for frequency in range(size):
        wave = np.cos(np.pi * frequency * position / size)
        kept = wave if frequency < components else np.zeros(size)
        np.testing.assert_allclose(projection @ wave, kept, atol=1e-5)  # float32 sums of 16 terms


@pytest.mark.parametrize("components", [0, 17])
def test_projection_on_an_impossible_number_of_components_is_refused(components: int) -> None:
    with pytest.raises(ValueError, match=str(components)):
        low_frequency_projection(16, components)


def test_low_frequency_half_is_the_projection_of_the_noised_latent() -> None:
    generator = np.random.default_rng(3)
    z0 = generator.standard_normal((2, 4, 8, 6)).astype(np.float32)
    noise = generator.standard_normal((3, 4, 8, 6)).astype(np.float32)
    factors = NoiseSchedule().coefficients((10, 200, 700))
    noised = noised_latents(z0, noise, *factors, 3)
    assert noised.shape == (2, 3, 8, 8, 6)
    # Projected before the sum here, after it there: float32 rounding of values up to about 30.
    projections = low_frequency_projections((8, 6), 3)
    np.testing.assert_allclose(noised, with_low_frequency(noised[:, :, :4], projections), atol=2e-5)


def test_noise_of_its_own_per_image_equals_shared_noise_when_they_are_the_same() -> None:
    generator = np.random.default_rng(4)
    z0 = generator.standard_normal((2, 4, 8, 8)).astype(np.float32)
    noise = generator.standard_normal((3, 4, 8, 8)).astype(np.float32)
    factors = NoiseSchedule().coefficients((0, 100, 999))
    per_image = np.broadcast_to(noise, (2, *noise.shape))
    np.testing.assert_array_equal(noised_latents(z0, noise, *factors, 2), noised_latents(z0, per_image, *factors, 2))
