"""Crops are squares around the face, filled up with the frame's mirror image; blurring lowers sharpness."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protoleak.choices import Look
from protoleak.faces.crops import crop_square, face_crop, frame_each, frame_face, sharpness
from protoleak.images.framing import Box, Framing
from protoleak.images.preprocess import preprocess

SIZES = st.integers(1, 40)
PLACES = st.floats(-90, 90)
LENGTHS = st.floats(0.01, 90)
MARGINS = st.floats(0, 1)


def frame(height: int, width: int) -> np.ndarray:
    """An image in which no two pixels are alike."""
    return np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(SIZES, SIZES, PLACES, PLACES, LENGTHS, LENGTHS, MARGINS)
@settings(max_examples=300, deadline=None)
def test_crop_equals_a_cut_from_the_frame_padded_by_reflection(
    height: int, width: int, left: float, top: float, box_width: float, box_height: float, margin: float
) -> None:
    image, box = frame(height, width), Box(left, top, box_width, box_height)
    x, y, side = crop_square(box, margin)
    around = max(abs(x), abs(y), abs(x + side), abs(y + side), 1)
    padded = np.pad(image, ((around, around), (around, around), (0, 0)), mode="symmetric")
    expected = padded[y + around : y + around + side, x + around : x + around + side]
    np.testing.assert_array_equal(face_crop(image, box, margin), expected)


@given(PLACES, PLACES, LENGTHS, LENGTHS, MARGINS)
@settings(max_examples=100, deadline=None)
def test_square_has_the_margin_on_every_side_and_the_face_in_its_middle(
    left: float, top: float, width: float, height: float, margin: float
) -> None:
    box = Box(left, top, width, height)
    x, y, side = crop_square(box, margin)
    assert side == max(1, round(max(width, height) * (1 + 2 * margin)))
    assert abs(x + side / 2 - (left + width / 2)) <= 0.5 + 1e-9  # whole pixels
    assert abs(y + side / 2 - (top + height / 2)) <= 0.5 + 1e-9


def test_crop_inside_the_frame_has_its_pixels_without_a_copy() -> None:
    image = frame(100, 120)
    crop = face_crop(image, Box(30, 20, 40, 40), 0.25)
    np.testing.assert_array_equal(crop, image[10:70, 20:80])
    assert np.shares_memory(crop, image)


@pytest.mark.parametrize("looks", [("face", "native", "image"), ("image",)])
def test_faces_of_one_image_are_framed_as_each_alone_and_the_whole_image_once(
    looks: tuple[Look, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    image, framing = frame(200, 260), Framing(looks, 64)
    boxes = [Box(20, 30, 40, 50), Box(120, 60, 60, 60), Box(-5, 100, 30, 40)]
    alone = [frame_face(framing, image, box, 0.25) for box in boxes]
    shapes = []
    resized = preprocess
    monkeypatch.setattr(
        "protoleak.images.framing.preprocess", lambda one, size: shapes.append(one.shape[:2]) or resized(one, size)
    )
    together = frame_each(framing, image, boxes, 0.25)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert one.lacking == other.lacking
    assert shapes.count(image.shape[:2]) == (1 if framing.needs_face else 0)


def test_face_that_is_larger_than_the_frame_gives_a_crop_without_a_black_pixel() -> None:
    image = np.full((50, 60, 3), 77, np.uint8)
    crop = face_crop(image, Box(-100, -100, 300, 280), 0.25)
    assert crop.shape == (450, 450, 3)
    assert (crop == 77).all()


def test_blurring_lowers_sharpness_and_size_alone_hardly_changes_it() -> None:
    generator = np.random.default_rng(3)
    image = cv2.resize(generator.integers(0, 256, (64, 64, 3), dtype=np.uint8), (512, 512))
    sharp = sharpness(image, 256)
    assert sharpness(cv2.GaussianBlur(image, (0, 0), 6), 256) < sharp / 3
    halved = cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA)
    assert sharpness(halved, 256) == pytest.approx(sharp, rel=0.01)


def test_a_flat_image_has_no_sharpness() -> None:
    assert sharpness(np.full((80, 80, 3), 90, np.uint8), 64) == 0
