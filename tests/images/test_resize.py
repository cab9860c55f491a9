"""One axis resized gives Pillow's bytes, whoever computes them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from protoleak.arrays import UInt8Array
from protoleak.images.halving import LEAST, halved, halved_width
from protoleak.images.preprocess import preprocess
from protoleak.images.resize import FACTORS, Axis, resize_axis

PATTERNS = ("noise", "faint noise", "black and white", "ramp")


def drawn(pattern: str, height: int, width: int) -> UInt8Array:
    random = np.random.default_rng([height, width])
    if pattern == "noise":
        return random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if pattern == "faint noise":  # sums near halves
        return random.integers(100, 103, (height, width, 3), dtype=np.uint8)
    if pattern == "black and white":
        return random.integers(0, 2, (height, width, 3), dtype=np.uint8) * 255
    return (np.add.outer(np.arange(height), np.arange(width))[..., None] * [1, 2, 3] % 256).astype(np.uint8)


def by_pillow(pixels: UInt8Array, axis: Axis, length: int) -> UInt8Array:
    height, width = pixels.shape[:2]
    size = (width, length) if axis == 0 else (length, height)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("factor", [*FACTORS, 5, 6])
@pytest.mark.parametrize("length", [1, 3, 4, 5, 64, 256])
def test_an_axis_shrunk_by_a_whole_number_has_pillows_bytes(pattern: str, axis: Axis, factor: int, length: int) -> None:
    shape = (factor * length, 37) if axis == 0 else (37, factor * length)
    pixels = drawn(pattern, *shape)
    np.testing.assert_array_equal(np.asarray(resize_axis(pixels, axis, length)), by_pillow(pixels, axis, length))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PATTERNS), st.integers(8, 300), st.integers(8, 300), st.sampled_from([16, 32, 64]))
def test_what_the_crop_leaves_out_early_changes_no_byte(pattern: str, height: int, width: int, size: int) -> None:
    pixels = drawn(pattern, height, width)
    short, long = min(width, height), max(width, height)
    stretched = int(size * long / short)
    new_width, new_height = (size, stretched) if width <= height else (stretched, size)
    whole = by_pillow(by_pillow(pixels, 1, new_width), 0, new_height)
    left, top = round((new_width - size) / 2), round((new_height - size) / 2)
    np.testing.assert_array_equal(preprocess(pixels, size), whole[top : top + size, left : left + size])


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        *((512, 512, 256), (512, 768, 256), (768, 512, 256), (600, 512, 256), (514, 512, 256), (512, 514, 256)),
        *((128, 128, 64), (130, 128, 64), (64, 600, 32), (16, 8, 4), (8, 8, 4), (260, 8, 4), (8, 1000, 4)),
    ],
)
def test_a_half_and_its_crop_have_pillows_bytes(pattern: str, height: int, width: int, size: int) -> None:
    pixels = drawn(pattern, height, width)
    whole = by_pillow(by_pillow(pixels, 1, width // 2), 0, height // 2)
    left, top = round((width // 2 - size) / 2), round((height // 2 - size) / 2)
    np.testing.assert_array_equal(preprocess(pixels, size), whole[top : top + size, left : left + size])
    if min(height, width) >= 2 * LEAST:
        np.testing.assert_array_equal(halved(pixels), whole)
        odd = np.zeros((height + 3, width + 1, 3), np.uint8)  # rows that don't follow one another in memory
        odd[3:, 1:] = pixels
        np.testing.assert_array_equal(halved(odd[3:, 1:]), whole)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("height", "width"), [(1024, 1024), (768, 768), (1024, 1040), (1536, 1024), (768, 1024)])
def test_usual_sizes_have_pillows_bytes(pattern: str, height: int, width: int) -> None:
    pixels = drawn(pattern, height, width)
    short = min(height, width)
    new_height, new_width = (int(256 * side / short) for side in (height, width))
    whole = by_pillow(by_pillow(pixels, 1, new_width), 0, new_height)
    left, top = round((new_width - 256) / 2), round((new_height - 256) / 2)
    np.testing.assert_array_equal(preprocess(pixels, 256), whole[top : top + 256, left : left + 256])


def test_every_row_of_four_values_is_rounded_as_pillow_rounds_it() -> None:
    """All sums of the two inner and of the two outer neighbours there are, each from one pair of values."""
    inner, outer = np.meshgrid(np.arange(511), np.arange(511), indexing="ij")
    pixels = np.zeros((511, 511 * 12, 3), np.uint8)  # of every twelve pixels the fourth to the seventh are the four
    pixels[:, 3::12], pixels[:, 6::12] = (outer // 2)[..., None], (outer - outer // 2)[..., None]
    pixels[:, 4::12], pixels[:, 5::12] = (inner // 2)[..., None], (inner - inner // 2)[..., None]
    found = halved_width(pixels)[:, 2::6]
    expected = by_pillow(pixels, 1, 511 * 6)[:, 2::6]
    np.testing.assert_array_equal(found, expected)


def test_what_is_given_is_left_as_it_is() -> None:
    pixels = drawn("noise", 64, 64)
    before = pixels.copy()
    resize_axis(pixels, 0, 32)
    resize_axis(pixels, 1, 32)
    halved(pixels)
    np.testing.assert_array_equal(pixels, before)
