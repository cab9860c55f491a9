"""Retouching changes an image a little."""

from __future__ import annotations

import numpy as np
import pytest

from protoleak.training.face_views.retouching import RETOUCHES, retouch
from tests.look_bundle import face_image


@pytest.mark.parametrize("kind", RETOUCHES)
@pytest.mark.parametrize("amount", [-1.0, 0.0, 1.0])
def test_retouching_keeps_the_size_and_most_of_the_image(kind: str, amount: float) -> None:
    image = np.asarray(face_image("none", 5))
    found = retouch(image, kind, amount, np.random.default_rng(0))
    assert found.shape == image.shape
    assert found.dtype == np.uint8
    assert np.corrcoef(found.reshape(-1), image.reshape(-1))[0, 1] > 0.9
    if amount == 1.0:
        assert not np.array_equal(found, image)
