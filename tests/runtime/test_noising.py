"""Noising with what was computed once equals the formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from protoleak.bundle.bundle import Bundle
from protoleak.diffusion import noised_latents
from protoleak.runtime.noising import Noising


@pytest.fixture(scope="module")
def z0() -> np.ndarray:
    return np.random.default_rng(5).standard_normal((5, 4, 8, 8)).astype(np.float32)


def test_noising_equals_the_formula_to_the_last_bit(tiny_bundle: Path, z0: np.ndarray) -> None:
    bundle = Bundle.load(tiny_bundle)
    manifest = bundle.manifest
    factors = manifest.noise_schedule.coefficients(tuple(manifest.timesteps))
    assert manifest.low_frequency is not None
    expected = noised_latents(z0, bundle.noise_bank, *factors, manifest.low_frequency.components)
    np.testing.assert_array_equal(Noising.of(manifest, bundle.noise_bank)(z0), expected)


def test_noising_of_an_image_does_not_depend_on_its_batch(tiny_bundle: Path, z0: np.ndarray) -> None:
    bundle = Bundle.load(tiny_bundle)
    noising = Noising.of(bundle.manifest, bundle.noise_bank)
    np.testing.assert_array_equal(noising(z0), np.concatenate([noising(one[None]) for one in z0]))
