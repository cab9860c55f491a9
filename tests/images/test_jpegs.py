"""JPEGs decoded past Pillow: Pillow's pixels, and every warning of libjpeg an error as before."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from PIL import Image, ImageOps

from protoleak.errors import MediaError
from protoleak.images.formats import jpeg
from protoleak.images.open import open_image
from tests.images.jpegs import DAMAGES, KINDS, jpegs

COUNT = len(KINDS) * len(DAMAGES) * 2  # every kind with every damage, twice


def by_pillow(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def warned(data: bytes) -> bool:
    """Whether libjpeg warns as it decodes an eighth of the size, with nobody looking at the pixels."""
    try:
        jpeg.check_part(data)
    except MediaError:
        return True
    return False


@pytest.mark.filterwarnings("ignore")  # Pillow's, of damaged EXIF
def test_jpegs_of_every_kind_have_pillows_pixels_or_are_refused_for_a_warning() -> None:
    opened = refused = 0
    for name, data in jpegs(COUNT):
        try:
            found = open_image(data, upright=True)
        except MediaError:
            refused += 1
            if not warned(data):  # then Pillow must have a reason: another format, another size
                with pytest.raises((MediaError, OSError, ValueError, SyntaxError)):
                    open_image(recoded(data), upright=True)
            continue
        opened += 1
        assert not warned(data), name
        np.testing.assert_array_equal(found.pixels, by_pillow(data), err_msg=name)
    assert min(opened, refused) > COUNT // 8


def recoded(data: bytes) -> bytes:
    """As PNG, where Pillow can read it at all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        buffer = io.BytesIO()
        Image.open(io.BytesIO(data)).convert("RGB").save(buffer, "PNG")
        return buffer.getvalue()


def test_pixels_that_are_turned_upright_lie_in_rows() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (64, 40)).save(buffer, "JPEG", exif=exif)
    opened = open_image(buffer.getvalue(), upright=True)
    assert (opened.width, opened.height) == (40, 64)
    assert opened.pixels.flags.c_contiguous
