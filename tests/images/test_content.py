"""What is too little to judge."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFilter

from protoleak.images.content import DETAIL_SCALE, LOWEST_CONTRAST, LOWEST_DETAIL, SMALLEST_SIDE, lacking
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


def of_whole_looks(pixels: np.ndarray) -> bool:
    """Whether a look has enough, with every row of it looked at."""
    luma = [cv2.cvtColor(look, cv2.COLOR_RGB2GRAY).astype(np.float32) for look in pixels]
    blurred = [cv2.GaussianBlur(look, (0, 0), DETAIL_SCALE) for look in luma]
    detail = max(float(np.abs(a - b, dtype=np.float64).mean()) for a, b in zip(luma, blurred, strict=True))
    return max(float(look.std(dtype=np.float64)) for look in luma) >= LOWEST_CONTRAST and detail >= LOWEST_DETAIL


@pytest.mark.parametrize("size", [32, 50, 96])
@pytest.mark.parametrize("part", ["all", "top", "middle", "bottom"])
def test_rows_that_suffice_say_what_all_rows_say(size: int, part: str) -> None:
    random = np.random.default_rng(size)
    third = size // 3
    rows = {
        "all": slice(None),
        "top": slice(third),
        "middle": slice(third, size - third),
        "bottom": slice(size - third, None),
    }
    noise = np.zeros((size, size, 3))
    noise[rows[part]] = random.normal(size=(size, size, 3))[rows[part]]
    ramp = np.linspace(-1, 1, size)[:, None, None]
    said = []
    for slope in (0.0, 6.8, 7.0, 60.0):
        for strength in (*np.linspace(1, 9, 9), 30.0):
            pixels = np.clip(127 + slope * ramp + strength * noise, 0, 255).astype(np.uint8)[None]
            said.append(lacking(pixels, 256) is None)
            assert said[-1] == of_whole_looks(pixels), (slope, strength)
    assert {True, False} == set(said)


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
