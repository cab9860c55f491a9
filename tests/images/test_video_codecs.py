"""An image through a video codec and back."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from typing import Literal

import numpy as np
import pytest

pytest.importorskip("av", reason="PyAV encodes the video")

from protoleak.images.video_codecs import through_video
from tests.look_bundle import face_image

CODECS: list[Literal["libx264", "libx265"]] = ["libx264", "libx265"]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("shift", [(0, 0), (3, -2)])
def test_the_frame_shows_the_image_in_its_place_whatever_moved_before(
    codec: Literal["libx264", "libx265"], shift: tuple[int, int]
) -> None:
    image = np.asarray(face_image("none", 1))
    back = through_video(image, codec, 20, shift).astype(float)
    error = np.abs(back - image).mean()
    moved = min(np.abs(np.roll(back, step, axis=(0, 1)) - image).mean() for step in ((0, 2), (2, 0), (-2, 3)))
    assert error < 6
    assert error < 0.8 * moved


@pytest.mark.parametrize("codec", CODECS)
def test_a_coarser_rate_keeps_less_and_the_colours_stay(codec: Literal["libx264", "libx265"]) -> None:
    image = np.asarray(face_image("none", 2))
    backs = [through_video(image, codec, crf) for crf in (18, 30, 42)]
    errors = [np.abs(back.astype(float) - image).mean() for back in backs]
    assert errors == sorted(errors)
    for back in backs:
        assert np.abs(back.mean(axis=(0, 1)) - image.mean(axis=(0, 1))).max() < 4


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("height", "width"), [(33, 47), (64, 51), (32, 300)])
def test_a_last_odd_row_or_column_is_left_out(codec: Literal["libx264", "libx265"], height: int, width: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert through_video(image, codec, 28, (1, 1)).shape == (height // 2 * 2, width // 2 * 2, 3)


@pytest.mark.parametrize("size", ["34, 34", "48, 48", "200, 40", "33, 47"])
def test_narrow_images_are_encoded_without_harm_to_the_process(size: str) -> None:
    """In a process of its own: the encoder wrote beyond its buffers, which ended most of these runs."""
    code = (
        "import numpy as np; from protoleak.images.video_codecs import through_video; "
        f"image = np.random.default_rng(0).integers(0, 256, ({size}, 3), dtype=np.uint8); "
        "[through_video(image, 'libx265', 28, (1, 1)) for _ in range(20)]; print('done')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "done")


# An image after a video codec, as its hash: the same wherever its encoder's memory comes from.
FILMED = """
import hashlib, sys
import numpy as np
from protoleak.images.video_codecs import through_video
random = np.random.default_rng(0)
found = hashlib.sha256()
for height, width in ((462, 408), (337, 298), (90, 301)):
    coarse = random.integers(0, 256, (height // 6 + 1, width // 6 + 1, 3), dtype=np.uint8)
    image = np.ascontiguousarray(coarse.repeat(6, axis=0).repeat(6, axis=1)[:height, :width])
    found.update(through_video(image, sys.argv[1], 32, (3, 2)).tobytes())
print(found.hexdigest())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="MALLOC_PERTURB_ is glibc's")
@pytest.mark.parametrize("codec", CODECS)
def test_an_encoded_image_does_not_depend_on_memory_that_nobody_wrote(codec: str) -> None:
    hashes = {
        subprocess.run(
            [sys.executable, "-c", FILMED, codec],
            env=os.environ | {"MALLOC_PERTURB_": str(filled)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for filled in (0, 1, 2, 3)
    }
    assert len(hashes) == 1
