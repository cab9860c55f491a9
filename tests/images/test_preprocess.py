"""Preprocessing equals the published one byte for byte."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import PIL
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from protoleak.images.open import open_image
from protoleak.images.preprocess import preprocess


def test_preprocessing_equals_the_published_code_on_recorded_images(shared: Path) -> None:
    folder = shared / "reference" / "conv-multistep"
    names = json.loads((folder / "meta.json").read_text())["images"]
    with np.load(folder / "expected.npz") as expected:
        # Recorded after (x / 255 − 0.5) / 0.5.
        recorded = np.rint((expected["forward/image"] * 0.5 + 0.5) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    for name, reference in zip(names, recorded, strict=True):
        np.testing.assert_array_equal(
            preprocess(open_image(folder / "images" / name).image, 256), reference, err_msg=name
        )


@given(st.integers(32, 500), st.integers(32, 500), st.sampled_from([32, 64, 111]))
@settings(max_examples=60, deadline=None)
def test_preprocessing_equals_torchvision_for_any_size(width: int, height: int, size: int) -> None:
    transforms = pytest.importorskip("torchvision.transforms", reason="torchvision is the reference")
    # From Pillow 13 on, one resize call filters the height first in tall images; the published code ran on older.
    assume(height <= 2 * width or int(PIL.__version__.split(".")[0]) < 13)
    pixels = np.random.default_rng([width, height]).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    resize = transforms.Resize(size, transforms.InterpolationMode.BILINEAR, antialias=True)
    reference = transforms.CenterCrop(size)(resize(image))
    np.testing.assert_array_equal(preprocess(image, size), np.asarray(reference))


def test_a_tall_image_gives_the_bytes_that_the_published_code_got_from_older_pillows() -> None:
    pixels = np.random.Generator(np.random.Philox(7)).integers(0, 256, (400, 90, 3), dtype=np.uint8)
    result = preprocess(Image.fromarray(pixels), 64)
    recorded_with_pillow_12_3 = "8204db407aaacc4d029e9351c1e0da881b5cb4be45ba8b9666c8032768537324"
    assert hashlib.sha256(result.tobytes()).hexdigest() == recorded_with_pillow_12_3


def test_result_is_square_and_of_the_asked_size_even_for_a_long_strip() -> None:
    assert preprocess(Image.new("RGB", (3200, 33)), 64).shape == (64, 64, 3)
