"""Every filter gives the size that was asked for."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from protoleak.training.face_views.resampling import FILTERS, resize
from tests.look_bundle import face_image


@pytest.mark.parametrize("resampler", FILTERS)
@pytest.mark.parametrize("size", [(50, 40), (300, 260)])
def test_every_filter_resizes_to_the_size_both_ways(resampler: str, size: tuple[int, int]) -> None:
    image = np.asarray(face_image("none", 5))
    found = resize(image, *size, resampler)
    assert found.shape == (size[1], size[0], 3)
    expected = cv2.resize(image, size, interpolation=cv2.INTER_AREA if size[0] < 192 else cv2.INTER_LINEAR)
    assert np.abs(found.astype(float).mean(axis=(0, 1)) - expected.astype(float).mean(axis=(0, 1))).max() < 2
