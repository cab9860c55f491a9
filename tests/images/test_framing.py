"""The looks at a face."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from protoleak.choices import LOOKS
from protoleak.images.framing import Box, Framing, cut, stand_in
from protoleak.images.preprocess import preprocess

SIZE = 32
FRAMING = Framing(("face", "native", "image"), SIZE, 0.25)


def noise(width: int, height: int) -> Image.Image:
    random = np.random.default_rng(7)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_the_look_at_the_whole_image_is_the_published_preprocessing_wherever_the_face_is() -> None:
    image = noise(90, 70)
    for face in (None, Box(3, 4, 20, 20)):
        np.testing.assert_array_equal(FRAMING.frame(image, face)[2], preprocess(image, SIZE))


def test_the_native_look_holds_the_pixels_as_they_are() -> None:
    image = noise(120, 100)
    look = FRAMING.frame(image, Box(40, 30, 30, 40))[1]
    left, top = 55 - SIZE // 2, 50 - SIZE // 2
    np.testing.assert_array_equal(look, np.asarray(image)[top : top + SIZE, left : left + SIZE])


def test_the_look_at_the_face_shows_its_margin() -> None:
    image = noise(200, 200)
    np.testing.assert_array_equal(
        FRAMING.frame(image, Box(80, 90, 40, 32))[0], preprocess(image.crop((70, 76, 130, 136)), SIZE)
    )


def test_a_face_at_the_border_is_shown_from_inside_the_image() -> None:
    assert FRAMING.square("face", 200, 100, Box(-10, 80, 40, 40)) == (0, 40, 60)
    assert FRAMING.square("face", 200, 100, Box(20, 10, 90, 90)) == (15, 0, 100)  # no larger than the short side


def test_beyond_the_border_of_a_small_image_its_mirror_image_goes_on() -> None:
    image = noise(20, 24)
    look = FRAMING.frame(image, Box(5, 5, 10, 10))[1]
    pixels = np.asarray(image)
    np.testing.assert_array_equal(look[4:28, 6:26], pixels)
    np.testing.assert_array_equal(look[4:28, :6], pixels[:, 5::-1])
    np.testing.assert_array_equal(look[:4, 6:26], pixels[3::-1])


def test_an_image_judged_whole_is_looked_at_in_its_middle() -> None:
    image = noise(90, 70)
    np.testing.assert_array_equal(FRAMING.frame(image, None), FRAMING.frame(image, stand_in(90, 70)))
    assert stand_in(90, 70).centre == (45, 35)


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(8, 90),
    height=st.integers(8, 90),
    left=st.floats(-100, 150),
    top=st.floats(-100, 150),
    face_width=st.floats(1, 150),
    face_height=st.floats(1, 150),
)
def test_any_face_in_any_image_has_all_its_looks(
    width: int, height: int, left: float, top: float, face_width: float, face_height: float
) -> None:
    framing = Framing(LOOKS, SIZE)
    face = Box(left, top, face_width, face_height)
    looks = framing.frame(noise(width, height), face)
    assert looks.shape == (3, SIZE, SIZE, 3)
    assert looks.dtype == np.uint8
    for look in ("face", "image"):
        x, y, side = framing.square(look, width, height, face)
        assert x >= 0
        assert y >= 0
        assert x + side <= width
        assert y + side <= height


def test_a_cut_inside_the_image_is_its_pixels() -> None:
    image = np.asarray(noise(50, 40))
    np.testing.assert_array_equal(cut(image, 3, 4, 20), image[4:24, 3:23])


def test_an_array_has_the_looks_of_a_pillow_image_of_it() -> None:
    image = noise(120, 90)
    for face in (None, Box(40, 30, 30, 40), Box(-10, 60, 50, 50)):
        np.testing.assert_array_equal(FRAMING.frame(np.asarray(image), face), FRAMING.frame(image, face))


@pytest.mark.parametrize(
    ("height", "width"), [(SIZE, SIZE), (2 * SIZE, 2 * SIZE), (3 * SIZE, 4 * SIZE), (2 * SIZE, 90), (70, 90)]
)
def test_looks_are_their_callers_own(height: int, width: int) -> None:
    """Also where there is only one, which isn't copied if it was made anew."""
    pixels = np.array(noise(width, height))
    before = pixels.copy()
    framing = Framing(("image",), SIZE)
    looks = framing.frame(pixels, None)
    assert looks.flags.c_contiguous
    assert looks.flags.writeable
    np.testing.assert_array_equal(looks[0], preprocess(pixels, SIZE))
    first, second = framing.frame_each(pixels, [None, None])
    for own in (looks, first):
        own[:] = 0
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(second[0], preprocess(pixels, SIZE))
