"""What is too little to judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from protoleak.images.content import SMALLEST_SIDE, lacking
from protoleak.images.preprocess import preprocess
from tests.paths import EXAMPLES

PHOTOGRAPH = next(iter(sorted(EXAMPLES.rglob("photograph*.jpg"))))


def looks(image: Image.Image) -> np.ndarray:
    return preprocess(image.convert("RGB"), 256)[None]


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_flat_image_is_without_content(grey: int) -> None:
    assert "without content" in str(lacking(looks(Image.new("RGB", (300, 300), (grey,) * 3)), 300))


def test_noise_that_nobody_sees_is_no_content() -> None:
    random = np.random.default_rng(0)
    black = np.clip(random.normal(3, 1.0, (300, 300, 3)), 0, 255).astype(np.uint8)
    assert "without content" in str(lacking(looks(Image.fromarray(black)), 300))


def test_a_blur_that_leaves_no_detail_is_refused_and_one_that_does_is_not() -> None:
    with Image.open(PHOTOGRAPH) as image:
        photograph = image.convert("RGB").resize((512, 512))
    assert lacking(looks(photograph), 512) is None
    assert lacking(looks(photograph.filter(ImageFilter.GaussianBlur(2))), 512) is None
    assert "blurred beyond use" in str(lacking(looks(photograph.filter(ImageFilter.GaussianBlur(12))), 512))


@pytest.mark.parametrize("rows", [slice(0, 40), slice(216, 256), slice(50, 206), slice(64, 192)])
def test_detail_counts_wherever_it_is(rows: slice) -> None:
    pixels = np.full((1, 256, 256, 3), 90, np.uint8)
    pixels[:, :128] += 40  # contrast without detail
    assert "blurred beyond use" in str(lacking(pixels, 256))
    noise = np.random.default_rng(0).integers(0, 120, (rows.stop - rows.start, 256, 1), np.uint8)
    pixels[:, rows] = noise
    assert lacking(pixels, 256) is None


def test_a_tiny_image_is_refused_by_its_size() -> None:
    with Image.open(PHOTOGRAPH) as image:
        photograph = image.convert("RGB")
    assert "too small" in str(lacking(looks(photograph.resize((32, 32))), 32))
    assert lacking(looks(photograph.resize((SMALLEST_SIDE, SMALLEST_SIDE))), SMALLEST_SIDE) is None


def test_the_best_look_counts() -> None:
    with Image.open(PHOTOGRAPH) as image:
        sharp = looks(image)
    assert lacking(np.concatenate([np.zeros_like(sharp), sharp]), 300) is None


def test_real_faces_of_every_source_are_judged(shared: Path) -> None:
    files = [
        file
        for folder in sorted((shared / "data" / "generators").glob("real-*"))
        for file in sorted(folder.iterdir())[:5]
    ]
    assert files
    for file in files:
        with Image.open(file) as image:
            found = lacking(looks(image), min(image.size))
        assert found is None, f"{file.name}: {found}"
