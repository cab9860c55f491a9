"""Writers give images back nearly as they were."""

from __future__ import annotations

import numpy as np
import pytest

from protoleak.training.face_views.draw import WRITERS
from protoleak.training.face_views.writers import Writer, write
from tests.look_bundle import face_image

pytest.importorskip("av", reason="PyAV encodes the video")


@pytest.mark.parametrize("kind", [kind for kind, _ in WRITERS])
def test_every_writer_gives_back_the_image_nearly_and_a_coarser_one_less(kind: str) -> None:
    image = np.asarray(face_image("none", 3))
    fine, coarse = (20, 40) if kind.startswith("lib") else (95, 20)

    def error(quality: int) -> float:
        back = write(image, Writer(kind, quality, shift=(1, -2)))  # type: ignore[arg-type]
        assert back.shape == image.shape
        assert back.dtype == np.uint8
        return float(np.abs(back.astype(float) - image).mean())

    if kind == "png":
        assert error(0) == 0
        return
    assert 0 < error(fine) < 5  # grey levels; the image has noise of σ = 4 that no writer keeps whole
    assert error(coarse) > 1.2 * error(fine)


def test_the_chroma_subsampling_that_was_asked_for_is_used() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 200
    kept = write(stripes, Writer("jpeg", 95, subsampling=0)).astype(int)
    lost = write(stripes, Writer("jpeg", 95, subsampling=2)).astype(int)
    contrast = [np.abs(image[:, ::2, 0] - image[:, 1::2, 0]).mean() for image in (kept, lost)]
    assert contrast[0] > 2 * contrast[1]
